"""What of a finished run is published, and how it is told."""
