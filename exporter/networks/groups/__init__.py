"""Networks of several members."""
