"""Facts about public data sets, and the manifests of those that can be read."""
