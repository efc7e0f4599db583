"""One prediction request from its head to its answer: in the protocol, or through the ASGI endpoint."""
