"""Metrics, status, the HTTP endpoint, and notifications for systemd."""
