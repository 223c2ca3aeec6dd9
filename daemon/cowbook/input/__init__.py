"""Input: which file, which offset, and what its records say."""
