"""The Open Inference Protocol: JSON, and JSON followed by raw tensors."""
