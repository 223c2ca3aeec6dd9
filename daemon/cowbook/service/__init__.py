"""The process: all symbols, their restarts, signals and reloads."""
