"""From open rows to Parquet parts: schemas, encoding, and parts that appear under their final name only when complete."""
