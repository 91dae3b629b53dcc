"""Reading, simulating and preparing Sentinel-2 Level-1C products."""
