"""Parameters of several members of one lineage averaged to those of one member."""
