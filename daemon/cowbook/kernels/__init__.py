"""Compiled functions: the decorator, machine instructions, and the cache on disk. Knows nothing of books or bytes."""
