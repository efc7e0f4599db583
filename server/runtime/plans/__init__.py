"""How the members of an ensemble are run, and which way is fastest on this machine."""
