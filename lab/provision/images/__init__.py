"""Images: they are in the engine already, are pulled from a registry, or are built here."""
