"""Readers of data sets, and the targets that networks are trained on."""
