"""Tutti beside other servers: the same ensembles, the same load, one table. `python -m loadtest.peers`."""
