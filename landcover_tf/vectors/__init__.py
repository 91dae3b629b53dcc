"""Polygon layers: read, burned into label rasters, written as GeoPackage with styles."""
