"""Reports what can be trusted of a symbol's output, by day."""
