"""Networks that read token ids: int64 [n, L] of a text, or [n, W, L] of a document's windows; id 0 is padding."""
