"""Plain data: what the rooms hand to each other. numpy and msgspec only; no logic of books, bytes or files."""
