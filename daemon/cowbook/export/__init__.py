"""Published output in the forms that other programs take. It reads through `query`, and writes one file or directory."""
