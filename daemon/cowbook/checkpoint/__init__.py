"""Checkpoints: when they are taken, what their files hold, and how they are committed, found and verified."""
