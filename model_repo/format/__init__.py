"""The manifest of a version, and what must hold for it. Structs and pure functions."""
