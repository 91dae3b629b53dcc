"""Rasters of any origin: grids, windows, pixel sizes, no-data values, legends."""
