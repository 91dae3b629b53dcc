"""Worked examples; run them from the repository as `python -m examples.NAME`."""
