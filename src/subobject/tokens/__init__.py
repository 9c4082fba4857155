"""Segments and vectors to ordered tokens within a budget, and back; tokens on disk."""
