"""Who observed the target (the canary, the load, the truth queries), and what they showed around a fault."""
