"""Rows of CSV and Parquet files as messages."""
