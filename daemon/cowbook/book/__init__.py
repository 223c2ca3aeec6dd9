"""The book: the copy-on-write ladder, continuity, drift and audits. Knows of messages and rows only, never of bytes or files."""
