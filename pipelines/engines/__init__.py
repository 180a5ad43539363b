"""What runs a graph: one module an engine, each with its complete set of options."""
