"""Image networks: torch modules on [n, c, h, w]."""
