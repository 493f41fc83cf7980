"""Faults of a service's network: rules, queueing disciplines and name servers in its network namespace."""
