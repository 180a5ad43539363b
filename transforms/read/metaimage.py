"""MetaImage headers (.mha, .mhd): what they say, and what they leave out.

Keys and defaults as in MetaIO (https://itk.org/Wiki/MetaIO/Documentation), except that nothing about spacing, position
or direction has a default here: ITK takes 1 mm, 0 and the identity where the file is silent, this reader refuses.
"""

from __future__ import annotations

import math

import numpy as np

from mdfp import geometry
from schemas.reasons import Reason
from transforms.read.textheader import TextHeader, check_data_file, integers, numbers, shown
from transforms.rejected import Rejected

_DTYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_OTHER_TYPES = ("MET_STRING", "MET_CHAR_ARRAY", "MET_FLOAT_MATRIX", "MET_NONE", "MET_OTHER", "MET_ASCII_CHAR")
_OFFSET_KEYS = ("Offset", "Position", "Origin")
_MATRIX_KEYS = ("TransformMatrix", "Rotation", "Orientation")
_UNIT_MM = {"um": 0.001, "mm": 1.0, "cm": 10.0}


def is_metaimage(prefix: bytes) -> bool:
    """Whether the first line assigns one of the keys a MetaImage starts with."""
    key = prefix[:64].split(b"=")[0].strip()
    return key in (b"ObjectType", b"NDims", b"Comment", b"ObjectSubType", b"TransformType")


def parse(prefix: bytes) -> TextHeader:
    """The header at the start of a .mha, or in a .mhd.

    Raises:
        Rejected: UNREADABLE, a line or value is not what MetaImage has; NO_GEOMETRY, no spacing, position or direction;
            NOT_A_VOLUME, TEMPORAL, UNSUPPORTED, what is described is not one number per voxel of a volume.
    """
    fields, data_offset = _fields(prefix)
    shape_zyx = _shape_zyx(fields)
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise Rejected(Reason.UNSUPPORTED, f"{shown(fields['ElementNumberOfChannels'])} values per voxel; one is read")
    if not _flag(fields, "BinaryData", default=True):
        raise Rejected(Reason.UNSUPPORTED, "voxels written as text (BinaryData = False); save them as binary")
    element_type = fields.get("ElementType", "")
    if element_type not in _DTYPES:
        raise Rejected(
            Reason.UNSUPPORTED, f"ElementType {shown(element_type, _OTHER_TYPES)}; one of {', '.join(_DTYPES)} is read"
        )
    msb = _flag(fields, "BinaryDataByteOrderMSB", default=_flag(fields, "ElementByteOrderMSB", default=False))
    slope = numbers(fields.get("ElementToIntensityFunctionSlope", "1"), "ElementToIntensityFunctionSlope")
    shift = numbers(fields.get("ElementToIntensityFunctionOffset", "0"), "ElementToIntensityFunctionOffset")
    if slope != [1.0] or shift != [0.0]:
        raise Rejected(
            Reason.UNSUPPORTED, "an ElementToIntensityFunction, which readers of MetaImage do not agree about"
        )
    location = fields["ElementDataFile"]
    return TextHeader(
        shape_zyx=shape_zyx,
        dtype=np.dtype((">" if msb else "<") + _DTYPES[element_type]),
        affine_ras=_affine_ras(fields, len(integers(fields["DimSize"], "DimSize"))),
        data_file=None if location == "LOCAL" else check_data_file(location),
        data_offset=data_offset if location == "LOCAL" else 0,
        encoding="zlib" if _flag(fields, "CompressedData", default=False) else "raw",
        skip=integers(fields.get("HeaderSize", "0"), "HeaderSize")[0],
    )


def _fields(prefix: bytes) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    position = 0
    while position < len(prefix):
        end = prefix.find(b"\n", position)
        end = len(prefix) if end < 0 else end
        key, equals, value = prefix[position:end].decode("latin-1").partition("=")
        position = end + 1
        if not key.strip():
            continue
        if not equals:
            raise Rejected(Reason.UNREADABLE, "expected lines 'Key = value' up to ElementDataFile, found another")
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":  # by definition the last line
            return fields, position
    raise Rejected(Reason.UNREADABLE, f"no ElementDataFile in {len(prefix)} bytes of header")


def _flag(fields: dict[str, str], key: str, *, default: bool) -> bool:
    return fields[key][:1] in "Tt1" if fields.get(key) else default


def _shape_zyx(fields: dict[str, str]) -> tuple[int, int, int]:
    shape = integers(fields.get("DimSize", ""), "DimSize")
    if fields.get("NDims") != str(len(shape)) or any(n < 1 for n in shape):
        raise Rejected(
            Reason.UNREADABLE, f"NDims is {shown(fields.get('NDims'))}, DimSize {shown(fields.get('DimSize'))}"
        )
    if len(shape) < 3:
        raise Rejected(Reason.NOT_A_VOLUME, f"expected three axes, found {len(shape)}")
    if math.prod(shape[3:]) > 1:
        raise Rejected(Reason.TEMPORAL, f"expected one volume, found {math.prod(shape[3:])} in one file")
    x, y, z = shape[:3]
    return z, y, x


def _affine_ras(fields: dict[str, str], axes: int) -> geometry.Affine:
    offset = next((fields[k] for k in _OFFSET_KEYS if k in fields), None)
    matrix = next((fields[k] for k in _MATRIX_KEYS if k in fields), None)
    spacing = fields.get("ElementSpacing")
    if offset is None or matrix is None or spacing is None:
        given = {"ElementSpacing": spacing, "Offset": offset, "TransformMatrix": matrix}
        raise Rejected(
            Reason.NO_GEOMETRY, f"the header does not state {', '.join(k for k, v in given.items() if v is None)}"
        )
    steps = numbers(spacing, "ElementSpacing", count=axes)
    origin = numbers(offset, "Offset", count=axes)
    # The matrix is written axis by axis: its rows are the directions of x, y, z in an LPS world.
    rows = np.array(numbers(matrix, "TransformMatrix", count=axes * axes)).reshape(axes, axes)
    affine = geometry.lps_to_ras(geometry.compose(rows[:3, :3].T, steps[:3], origin[:3]))
    if any(s <= 0 for s in steps[:3]):  # a negative one would hide in the length of its column
        raise Rejected(Reason.BAD_SPACING, f"expected a positive ElementSpacing, found {shown(spacing)}")
    affine[:3] *= _UNIT_MM.get(fields.get("DistanceUnits", "mm"), 1.0)
    return affine
