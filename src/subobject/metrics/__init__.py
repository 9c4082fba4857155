"""Scores: pure functions on arrays, and the runs that apply them to data sets."""
