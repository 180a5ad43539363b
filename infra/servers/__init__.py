"""Real object stores on this machine, for tests and for trying things by hand: `python -m infra.servers --help`."""
