"""What every family shares: the spec, the trained member, the training loop of torch modules."""
