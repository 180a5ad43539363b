"""Terms of the standard: the only text of a header's coded elements that is kept or shown.

A coded element (VR CS) may hold anything that somebody typed, a name too. What is none of the terms counts as not said.
"""

from __future__ import annotations

from schemas.recipe import MODALITIES as KNOWN_MODALITIES

SEXES = ("F", "M", "O")  # PS3.3 C.7.1.1
SIDES = ("R", "L", "U", "B")  # PS3.3 C.7.3.1
MODALITIES = frozenset({  # PS3.3 C.7.3.1.1.1
    *KNOWN_MODALITIES,
    "AS", "BI", "BMD", "DG", "ECG", "EPS", "HC", "HD", "IO", "IVOCT", "IVUS", "KER", "KO", "LEN", "LS", "MA",
    "MS", "OAM", "OCT", "OPM", "OPTENF", "OPV", "PR", "PX", "REG", "RG", "RTDOSE", "RTIMAGE", "RTPLAN",
    "RTSTRUCT", "SEG", "SR", "SRF", "STAIN", "TG", "VA",
})  # fmt: skip
PHOTOMETRIC = (  # PS3.3 C.7.6.3.1.2
    "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "HSV", "ARGB", "CMYK", "XYB", "YBR_FULL",
    "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT",
)  # fmt: skip
IMAGE_TYPES = frozenset({
    "ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "AXIAL", "LOCALIZER", "REFORMATTED", "MPR", "M", "P", "R",
    "I", "FFE", "SE", "MAGNITUDE", "PHASE", "REAL", "IMAGINARY", "M_FFE", "M_SE", "P_FFE", "NORM", "ND",
    "DIS2D", "DIS3D", "FM1", "FM2", "FIL", "IN_PHASE", "OUT_PHASE", "OPP_PHASE", "WATER", "FAT", "ADC",
    "TRACEW", "DIFFUSION", "PERFUSION", "SUB", "SUBTRACTION", "MIN", "MAX", "MIP", "MEAN", "NONE", "OTHER",
    "DYNAMIC", "STATIC", "MOSAIC", "T1", "T2", "MAP", "VOLUME",
})  # fmt: skip
"""Values of ImageType that are in use (PS3.3 C.7.6.1.1.2 and vendors')."""
