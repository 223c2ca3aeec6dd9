"""Records of text: lines, JSON arrays, and what stands around a message."""
