"""The queue of rows of one servable, and what travels through it. On the event loop; only `run` leaves it."""
