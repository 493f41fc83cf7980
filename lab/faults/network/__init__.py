"""Faults of the network, by rules in a service's network namespace."""
