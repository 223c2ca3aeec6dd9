"""Several machines (ADR 32): a service for each shard of the symbols, on whichever node is there, and a driver over them."""
