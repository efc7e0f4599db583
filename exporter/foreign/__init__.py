"""Models trained elsewhere: what their files are, what they take, and what their answers mean."""
