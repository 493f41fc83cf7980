"""YAML in, values out: strict, with the line of every problem."""
