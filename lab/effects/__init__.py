"""What several faults of a family share: how their effects are told from none."""
