"""A generator of phantom data sets: raw files as strangers publish them, with the truth about every voxel known.

truth = write_bucket("bucket", scale="demo")
truth.case("phantom-ct-structures", "s0002").structure("liver_tumour").mm3
"""

from examples.phantom.bucket import SOURCES, write_bucket
from examples.phantom.truth import CaseTruth, PlantedFault, PlantedFinding, StructureTruth, Truth

__all__ = ["SOURCES", "CaseTruth", "PlantedFault", "PlantedFinding", "StructureTruth", "Truth", "write_bucket"]
