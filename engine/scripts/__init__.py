"""A run as one Python file that needs only the libraries, and the snippets of model cards."""
