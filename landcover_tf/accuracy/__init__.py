"""Sampling designs, accuracy and area estimation, and calibration."""
