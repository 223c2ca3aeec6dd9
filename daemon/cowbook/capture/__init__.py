"""Capture: which file comes next, and its decoded bytes as blocks. Knows nothing of what the bytes say."""
