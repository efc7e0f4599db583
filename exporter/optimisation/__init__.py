"""Gradient training: the problem that a trainer states, the loop that solves it, and who solves it together."""
