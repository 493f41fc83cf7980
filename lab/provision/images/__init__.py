"""Images: taken from the engine, pulled from a registry, or built."""
