"""Hyper-parameter searches and lists of experiments over the trainer's configuration."""
