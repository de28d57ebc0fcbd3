"""Base models: which there are, what is known of one before it is loaded, and what becomes one. Needs no torch."""
