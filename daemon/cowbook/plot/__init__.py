"""A picture of published output: depth over time and price, with what is known of it. It reads through `query`."""
