"""This machine: its kernel, loop devices and programs, and the lab's state directory."""
