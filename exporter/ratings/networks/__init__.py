"""Networks and tables for pairs of a user and an item. torch is imported here."""
