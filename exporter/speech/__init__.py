"""Spoken words: samples as rows."""
