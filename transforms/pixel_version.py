"""The version of the voxels that this code makes."""

PIXEL_VERSION = 4
"""Raised by one whenever equal input may give other voxels, grids or records than before.

A plan pins it, so that one corpus is never made of two versions. `tests/transforms/normalise/test_golden.py` holds
hashes of small normalised volumes for this version, and fails until both are changed together.
"""
