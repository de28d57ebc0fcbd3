"""What objectives and tuners are made of, and what they promise."""
