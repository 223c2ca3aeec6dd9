"""Input: what the bytes of a block say, as messages. Knows nothing of files or books."""
