"""Joint training: several networks of unlike structure, trained for the answer that they give together."""
