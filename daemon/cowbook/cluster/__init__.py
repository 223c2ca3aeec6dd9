"""Several machines: one service for each shard of the symbols, on whichever node is there, and a driver that looks after them."""
