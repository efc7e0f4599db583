"""The load itself: what is asked when, over which connections, and what became of each request."""
