"""What the workers of one training tell each other by torch.distributed: gradients, or weights now and then."""
