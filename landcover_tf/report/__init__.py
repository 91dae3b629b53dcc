"""One self-contained page about a run and its map, with an interactive viewer."""
