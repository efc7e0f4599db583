"""Recipes: TOML to frozen structs, and the registers of sources and families. Imports no training library."""
