"""`tutti repo`, and the parser that every command of the program uses."""
