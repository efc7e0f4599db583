"""What foreign members take, as inputs of one ensemble: wired, cast, moved, resized, or texts."""
