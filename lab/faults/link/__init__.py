"""Faults of the links, through Toxiproxy."""
