"""Healing after a run that died or hangs: the guardian, its leases and fence, the undo store, and the heal itself."""
