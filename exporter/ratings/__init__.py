"""Ratings that users give to items."""
