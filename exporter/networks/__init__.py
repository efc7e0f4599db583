"""torch modules of the member families. Importing one imports torch; families do so when they train."""
