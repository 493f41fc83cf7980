"""One check per module; a module with a `CHECK` is found by discovery."""
