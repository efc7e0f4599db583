"""Figures of answers, and what an ensemble is fitted for."""
