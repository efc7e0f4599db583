"""New versions while the load runs."""
