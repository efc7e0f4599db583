"""The repository on a disk: versions appear by one rename, routes are replaced whole."""
