"""The report of a run: figures, text and picture."""
