"""From nothing to a running stack: engine, compose plugin, images, volume, and the stack itself.

`bring_up` does it all; `stack` starts, stops and resets; `doctor` looks without changing. Known debt: images that no
longer have a recipe stay in the engine, and no lock of registry digests is written yet.
"""
