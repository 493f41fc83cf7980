"""The only home of Docker, HTTP, subprocesses, files, sleep and wall time; implements `lab.ports`."""
