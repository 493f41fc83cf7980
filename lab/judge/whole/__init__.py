"""What concerns a run as a whole: damage to its evidence, what the guardian did, and its incidents in words."""
