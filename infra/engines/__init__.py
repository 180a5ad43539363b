"""Fetching the engines that do not come with Beam's Python package, and building one corpus on all of them."""
