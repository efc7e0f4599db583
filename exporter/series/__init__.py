"""Series of numbers: windows, and some steps later."""
