"""Reads YAML files into values, strictly; every problem is reported with its line."""
