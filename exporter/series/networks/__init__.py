"""Networks on series: torch modules on windows [n, L, V] of values in their own units."""
