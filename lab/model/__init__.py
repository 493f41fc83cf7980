"""Frozen values that all other layers use. Nothing here has an effect on the outside world."""
