"""Scores of a trained network on a split, beside those of a per-pixel baseline."""
