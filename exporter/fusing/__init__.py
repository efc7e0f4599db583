"""Fitting the fusion: temperatures, weights, the stacked rule, and which rule is published."""
