"""Label-space fusion: from the sources of a recipe to one label space, with every difference between them named."""
