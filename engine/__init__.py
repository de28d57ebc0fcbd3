"""Fine-tuning without a page: the engine behind Tunesmith's buttons and its command line."""

__version__ = "0.1.0"
