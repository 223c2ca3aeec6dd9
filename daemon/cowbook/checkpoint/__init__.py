"""Checkpoints: when they are taken, what is in their files, how they are committed, found and verified."""
