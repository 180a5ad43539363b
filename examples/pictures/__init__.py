"""Phantom data sets of pictures, reports and films: generated, so that recipes for them can be tried without any data.

    python -m examples.pictures FOLDER     writes a folder for each source

Each source holds one file that cannot be read, to show what becomes of it.
"""

from examples.pictures.write import SOURCES, write_all

__all__ = ["SOURCES", "write_all"]
