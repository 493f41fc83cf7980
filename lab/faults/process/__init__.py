"""Faults of a service's process: killed, stopped, frozen, restarted."""
