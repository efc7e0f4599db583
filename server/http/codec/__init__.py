"""Wire formats: bytes to checked arrays and back. No sockets and no event loop; a format has a folder."""
