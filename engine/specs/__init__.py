"""A run as a person describes it: its sections, and presets of them."""
