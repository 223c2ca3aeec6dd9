"""Decodes rows of CSV and Parquet files into messages."""
