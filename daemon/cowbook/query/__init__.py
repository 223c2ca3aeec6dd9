"""Questions to published output: which parts an instant needs, and the book that they make. It reads, and writes nothing."""
