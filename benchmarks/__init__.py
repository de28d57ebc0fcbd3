"""Measurements, each a script: `python -m benchmarks.cpu_training`, `python -m benchmarks.page`."""
