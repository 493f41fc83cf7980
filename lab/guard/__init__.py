"""What heals when a run dies or hangs: the guardian, its leases and fence, the undo store, and the heal itself."""
