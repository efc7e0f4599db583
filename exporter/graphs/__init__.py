"""Nodes of one graph: features, neighbours, labels."""
