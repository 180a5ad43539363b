"""Records that travel, source and recipe models, and the ontology of structures."""
