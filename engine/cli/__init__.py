"""The command line: one module for each kind of thing a person does."""
