"""Training: from built shards to a run folder; and the trained network back from it."""
