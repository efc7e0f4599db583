"""Texts and documents: files as rows of token ids, vocabularies, and what is made of them."""
