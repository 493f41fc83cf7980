"""What a run writes and a judge reads: run directory, journal and sample store."""
