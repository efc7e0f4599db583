"""Tables of numbers, categories and gaps."""
