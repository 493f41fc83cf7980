"""What measures the target beside the load: canary, truth queries, memory, clock, and the watchdog."""
