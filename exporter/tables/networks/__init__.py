"""Networks on tables: torch modules on numbers [n, N] and places of categories [n, M]."""
