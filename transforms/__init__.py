"""Pure functions on arrays and records, and the thin PTransforms around them."""
