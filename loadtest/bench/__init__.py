"""Tutti alone: cost curves, overload and swaps. `python -m loadtest.bench curves | overload | swap`."""
