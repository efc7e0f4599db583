"""Rows with their targets, cleaning and splits, and files that several domains read. Knows no domain."""
