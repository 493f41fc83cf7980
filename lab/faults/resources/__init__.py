"""Faults of the resources: CPU, memory, disk, files, processes, connections."""
