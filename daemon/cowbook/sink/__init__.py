"""Turns open rows into Parquet parts. A part appears under its final name only when it is complete and committed."""
