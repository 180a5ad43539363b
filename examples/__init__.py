"""Recipes to start from, and a generator of phantom data sets."""
