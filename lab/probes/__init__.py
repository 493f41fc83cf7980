"""Probes: what the lab asks of the target while a run goes on, one per file, written against `lab.ports`."""
