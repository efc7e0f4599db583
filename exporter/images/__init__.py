"""Images: files as rows, and what is made of them."""
