"""Hyper-parameter searches over the trainer's configuration (not written yet)."""
