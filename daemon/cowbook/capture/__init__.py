"""Capture: chooses the next file and hands out its decoded bytes as blocks. It does not know what the bytes mean."""
