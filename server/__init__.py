"""The server: `__main__` owns its tasks; every other room is named in ARCHITECTURE.md."""
