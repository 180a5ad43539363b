"""NRRD headers (.nrrd, .nhdr): what they say, and what they leave out.

Fields as in https://teem.sourceforge.net/nrrd/format.html. A volume must say in which patient space it lies (RAS, LAS
or LPS), with directions and origin; `spacings` alone place nothing, and a file that has no more is refused.
"""

from __future__ import annotations

import math
import re

import numpy as np

from mdfp.geometry import Affine
from schemas.reasons import Reason
from transforms.read.textheader import TextHeader, check_data_file, integers, numbers, shown
from transforms.rejected import Rejected

MAGIC = b"NRRD"

_DTYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_TYPE_NAMES = {name: code for code, names in _DTYPES.items() for name in names}
_ENCODINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
_TO_RAS = {
    "right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1), "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1),
}  # fmt: skip
_UNIT_MM = {"mm": 1.0, "um": 0.001, "cm": 10.0, "m": 1000.0}
_TIME_KINDS = ("time",)
_UNIT_MS = {"s": 1000.0, "sec": 1000.0, "second": 1000.0, "seconds": 1000.0, "ms": 1.0, "msec": 1.0, "us": 0.001}
_KINDS = frozenset({
    "domain", "space", "time", "list", "point", "vector", "covariant-vector", "normal", "stub", "scalar",
    "complex", "2-vector", "3-color", "rgb-color", "hsv-color", "xyz-color", "4-color", "rgba-color",
    "3-vector", "3-gradient", "3-normal", "4-vector", "quaternion", "unknown", "???", "none",
})  # fmt: skip
_OTHER_ENCODINGS = ("ascii", "text", "txt", "hex")
_OTHER_SPACES = frozenset({
    "right-anterior-superior-time", "left-anterior-superior-time", "left-posterior-superior-time",
    "scanner-xyz", "rast", "last", "lpst", "scanner-xyz-time", "3d-right-handed", "3d-left-handed",
    "3d-right-handed-time", "3d-left-handed-time",
})  # fmt: skip


def parse(prefix: bytes) -> TextHeader:
    """The header at the start of a .nrrd, or in a .nhdr.

    Time points are read along the slowest axis, where its kind is `time` and it has no direction.

    Raises:
        Rejected: UNREADABLE, not NRRD; NO_GEOMETRY, no patient space, directions or origin; NOT_A_VOLUME, TEMPORAL,
            UNSUPPORTED, what is described is not one number per voxel of a volume, or is encoded as text.
    """
    fields, data_offset = _fields(prefix)
    sizes = integers(fields.get("sizes", ""), "sizes")
    if fields.get("dimension") != str(len(sizes)) or any(n < 1 for n in sizes):
        raise Rejected(Reason.UNREADABLE, f"dimension is {shown(fields.get('dimension'))}, sizes {sizes}")
    spatial = _spatial_axes(fields, sizes)
    kind = fields.get("type", "").lower()
    if kind not in _TYPE_NAMES:
        raise Rejected(
            Reason.UNSUPPORTED, f"type {shown(kind, ('block',))}; integers and floats of 8 to 64 bits are read"
        )
    encoding = _ENCODINGS.get(fields.get("encoding", "").lower())
    if encoding is None:
        raise Rejected(
            Reason.UNSUPPORTED,
            f"encoding {shown(fields.get('encoding'), _OTHER_ENCODINGS)}; raw, gzip and bzip2 are read",
        )
    if integers(fields.get("line skip", fields.get("lineskip", "0")), "line skip") != [0]:
        raise Rejected(Reason.UNSUPPORTED, "lines to skip before the voxels (line skip)")
    code = _TYPE_NAMES[kind]
    endian = fields.get("endian", "").lower()
    if code[1] != "1" and endian not in ("little", "big"):
        raise Rejected(Reason.UNREADABLE, f"expected endian little or big, found {shown(endian)}")
    data_file = fields.get("data file", fields.get("datafile"))
    z, y, x = (sizes[a] for a in reversed(spatial))
    over_time = spatial == [0, 1, 2] and len(sizes) == 4
    return TextHeader(
        shape_zyx=(z, y, x),
        dtype=np.dtype((">" if endian == "big" else "<") + code),
        affine_ras=_affine_ras(fields, spatial),
        data_file=None if data_file is None else check_data_file(data_file),
        data_offset=data_offset if data_file is None else 0,
        encoding=encoding,
        skip=integers(fields.get("byte skip", fields.get("byteskip", "0")), "byte skip")[0],
        time_points=sizes[-1] if over_time else 1,
        step_ms=_step_ms(fields) if over_time else None,
    )


def _step_ms(fields: dict[str, str]) -> float | None:
    """Milliseconds between time points along the last of four axes; None where its spacing or its unit is not said."""
    spacings, units = fields.get("spacings", "").split(), re.findall(r'"([^"]*)"', fields.get("units", ""))
    if len(spacings) != 4 or len(units) != 4 or units[3].lower() not in _UNIT_MS:
        return None
    try:
        step = float(spacings[3]) * _UNIT_MS[units[3].lower()]
    except ValueError:
        return None
    return step if math.isfinite(step) and step > 0 else None


def _fields(prefix: bytes) -> tuple[dict[str, str], int]:
    if prefix[: len(MAGIC)] != MAGIC:
        raise Rejected(Reason.UNREADABLE, f"expected the magic NRRD, found {prefix[:4].hex() or 'nothing'}")
    end = re.search(rb"\r?\n\r?\n", prefix)
    lines = prefix[: end.start() if end else len(prefix)].decode("latin-1").splitlines()[1:]
    fields = {}
    for line in lines:
        key, colon, value = line.partition(": ")
        if colon and not line.startswith("#") and ":=" not in key:
            fields[key.strip().lower()] = value.strip()
    if end is None and not ({"data file", "datafile"} & set(fields)):
        raise Rejected(Reason.UNREADABLE, f"no empty line ends the header within {len(prefix)} bytes")
    return fields, end.end() if end else len(prefix)


def _directions(fields: dict[str, str], count: int) -> list[list[float] | None]:
    """World vector of each axis, None for one without direction (values, time)."""
    text = fields.get("space directions")
    if text is None:
        raise Rejected(Reason.NO_GEOMETRY, "the header does not state space directions; spacings alone give no place")
    vectors = re.findall(r"none|\([^()]*\)", text)  # each parenthesis is looked at once
    if len(vectors) != count:
        raise Rejected(Reason.UNREADABLE, f"space directions has {len(vectors)} entries for {count} axes")
    return [None if v == "none" else _vector(v, "space directions") for v in vectors]


def _vector(text: str, field: str) -> list[float]:
    return numbers(text.strip("()").replace(",", " "), field, count=3)


def _spatial_axes(fields: dict[str, str], sizes: list[int]) -> list[int]:
    """The three axes with a direction, fastest first; others must have length 1."""
    if len(sizes) < 3:
        raise Rejected(Reason.NOT_A_VOLUME, f"expected three axes, found {len(sizes)}")
    kinds = fields.get("kinds", "").lower().split() or ["domain"] * len(sizes)
    directed = [a for a, d in enumerate(_directions(fields, len(sizes))) if d is not None]
    others = [a for a in range(len(sizes)) if a not in directed and sizes[a] > 1]
    if others == [3] and len(sizes) == 4 and len(kinds) == 4 and kinds[3] in _TIME_KINDS:
        others = []
    if others:
        kind = kinds[others[0]] if others[0] < len(kinds) else "unknown"
        reason = Reason.TEMPORAL if kind in _TIME_KINDS else Reason.UNSUPPORTED
        raise Rejected(
            reason, f"{sizes[others[0]]} values per voxel along an axis of kind {shown(kind, _KINDS)}; one is read"
        )
    if len(directed) != 3:
        raise Rejected(Reason.NOT_A_VOLUME, f"expected three axes in space, found {len(directed)}")
    return directed


def _affine_ras(fields: dict[str, str], spatial: list[int]) -> Affine:
    space = fields.get("space", "").lower()
    if space not in _TO_RAS:
        raise Rejected(
            Reason.NO_GEOMETRY, f"space is {shown(space, _OTHER_SPACES)}; RAS, LAS or LPS say where the patient is"
        )
    if "space origin" not in fields:
        raise Rejected(Reason.NO_GEOMETRY, "the header does not state the space origin")
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", ""))) or {"mm"}
    if len(units) != 1 or not units <= set(_UNIT_MM):
        found = ", ".join(sorted({shown(u, _UNIT_MM) for u in units}))
        raise Rejected(Reason.NO_GEOMETRY, f"space units {found}; one of {', '.join(_UNIT_MM)} for all axes is read")
    vectors = _directions(fields, len(fields["sizes"].split()))
    affine = np.eye(4)
    for column, axis in enumerate(spatial):
        affine[:3, column] = vectors[axis]
    affine[:3, 3] = _vector(fields["space origin"], "space origin")
    affine[:3] *= np.array(_TO_RAS[space], dtype=np.float64)[:, None] * _UNIT_MM[units.pop()]
    return affine
