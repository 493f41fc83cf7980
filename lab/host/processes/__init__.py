"""Processes: the lab's own inside a fault, and those of others that it holds by a pidfd."""
