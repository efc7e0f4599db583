"""Engines: what starts the workers of a training, hands them tasks, and ends them."""
