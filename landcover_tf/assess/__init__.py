"""Samples of a map to be labelled, estimates of its accuracy, comparisons with another map."""
