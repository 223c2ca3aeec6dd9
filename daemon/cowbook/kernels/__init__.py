"""Compiled functions: the decorator, machine instructions, and the cache on disk. Nothing here depends on books or bytes."""
