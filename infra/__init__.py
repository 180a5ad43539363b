"""How the project is deployed and tried out: images, clusters, servers and engines for tests."""
