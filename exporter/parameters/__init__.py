"""Trained parameters as files: safetensors with where they come from, and what a later training begins with."""
