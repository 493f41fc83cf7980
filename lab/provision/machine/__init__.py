"""What a machine needs before it can run a stack: engine, packages, programs; and the doctor that checks it."""
