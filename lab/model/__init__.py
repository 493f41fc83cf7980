"""Frozen values that every other layer speaks in; nothing here touches the world."""
