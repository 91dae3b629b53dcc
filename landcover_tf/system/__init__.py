"""Files, processes and the terminal: what every program needs of its surroundings."""
