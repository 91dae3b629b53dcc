"""Searches over training settings, and lists of named experiments."""
