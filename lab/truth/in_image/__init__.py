"""Scripts that run inside a one-shot container of the target's image; they import nothing of the lab."""
