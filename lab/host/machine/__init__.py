"""What this machine is and has: kernel, loop devices, state directory, programs to run."""
