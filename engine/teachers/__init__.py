"""Models that others learn from: found, compared, asked, and what they answered."""
