"""The leaderboard of an export: figures, text, JSON and a picture."""
