"""A stack from its specification to its end: compose, readiness, store volume, world."""
