"""Carrying out a plan: the loop, its fault steps, and the session around them."""
