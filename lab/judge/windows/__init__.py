"""Assigns evidence to parts of a run: phases, fault windows, incidents, acts of others, known issues."""
