"""Golden rows, and whether this machine gives the answers that are stored with them."""
