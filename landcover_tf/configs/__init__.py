"""Configurations: fields with ranges, read from flags and files, compared with earlier ones."""
