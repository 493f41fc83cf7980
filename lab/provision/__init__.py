"""Leads from a bare machine to a running stack: engine, compose plugin, images, store volume, and the stack itself.

`bring_up` does everything; `stack` starts, stops and resets a stack; `doctor` examines the machine and changes nothing.
Known debt: images without a recipe stay in the engine, and registry digests are not locked yet.
"""
