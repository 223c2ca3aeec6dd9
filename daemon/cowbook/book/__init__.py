"""The book: the copy-on-write ladder, continuity, drift and audits. It sees messages and rows only, never bytes or files."""
