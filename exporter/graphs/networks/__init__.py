"""Networks and tables for the nodes of one graph. torch is imported here."""
