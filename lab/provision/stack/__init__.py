"""A stack from its specification to its end: compose, readiness, ports and the store's volume."""
