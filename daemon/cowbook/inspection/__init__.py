"""What a person asks of captures before there is a configuration: what the files are, and what could be proved with them."""
