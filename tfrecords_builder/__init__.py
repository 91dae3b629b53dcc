"""Builds sharded TFRecord datasets from prepared scenes and raster pairs."""
