"""A published ensemble with other members or weights, from the answers that it keeps: nothing is trained."""
