"""Land-cover mapping from Sentinel-2 Level-1C: the library."""
