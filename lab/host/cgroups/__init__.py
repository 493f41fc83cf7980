"""The cgroups of the stack's containers: files, limits, and the jobs that run inside them."""
