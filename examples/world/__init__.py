"""A generated world: people, their scans, and twelve data sets that publish them, some scans several times."""
