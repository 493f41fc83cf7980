"""The engine, packages, ports and programs that a machine needs before it can hold a stack."""
