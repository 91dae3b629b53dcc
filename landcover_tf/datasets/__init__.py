"""The built dataset: its description, shards, records and statistics."""
