"""Probes: single measurements of the target during a run, one per module, written against `lab.ports`."""
