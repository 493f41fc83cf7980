"""Processes: those of the lab that serve a fault, and handles of other processes."""
