"""Joins several sources of one symbol: batches of each → one batch in one order. Free of asyncio, files and books."""
