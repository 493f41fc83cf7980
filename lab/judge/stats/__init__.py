"""The statistics behind the checks: intervals, quantiles, and the clock of recovery."""
