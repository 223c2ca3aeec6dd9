"""Decodes text records: lines, JSON arrays, and the envelopes around messages."""
