"""Headers of NIfTI-1 and NIfTI-2: their fields, and where they place the voxels.

Rules, where the standard leaves a choice (nifti1.h of 2003, nifti2.h of 2011):

* geometry is the sform where sform_code > 0, else the qform where qform_code > 0, else the file has none and is
  refused: the "method 1" of the standard, spacing without a place, would invent both. Where sform and qform both stand
  and disagree, that is a finding;
* pixdim must be positive even where the sform is used, and its disagreement with the sform is a finding;
* scl_slope 0 or not finite means no scaling. scl_inter is then not used either;
* a manifest that knows a data set's sform to be wrong has the qform taken instead (`placement="qform"`), and nothing else;
* a file of four axes is several volumes; one of them is read where `component` says which, all where `read_all` is asked
  for (`transforms.read.over_time`), and none where nothing says so;
* a unit other than mm is converted to mm, a unit that is not stated is taken for mm; both are findings.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace

import numpy as np

from mdfp import geometry
from mdfp.geometry import Affine
from mdfp.sample import Finding
from schemas.reasons import Reason
from transforms.read.header import IF_WANTED, check_affine, check_spacing, furthest_corner_mm
from transforms.rejected import Rejected

FORM_TOLERANCE_VOXELS = 0.1
"""Corners placed by sform and qform may differ by this many voxels (of the smallest edge) before it is a finding."""

PIXDIM_TOLERANCE = 1e-3
"""Relative difference between pixdim and the sform's column lengths that is a finding."""

_DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8",
    256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_OTHER_TYPES = {
    1: "1-bit", 32: "complex64", 128: "RGB24", 1536: "float128",
    1792: "complex128", 2048: "complex256", 2304: "RGBA32",
}  # fmt: skip
UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_UNIT_NAMES = {1: "metre", 3: "micrometre"}
SPATIAL_UNIT_BITS = 0x07
_NIFTI1_BYTES, _NIFTI2_BYTES = 348, 540
_MAGIC2_TAIL = b"\r\n\x1a\n"

_QUATERNION_TOLERANCE = 1e-3
"""Length (squared) of the quaternion's vector part above 1 that is taken for rounding in single precision."""
_HALF_TURN = 1e-7
"""Below this the scalar part of the quaternion, squared, is rounding noise (its value in nifti1_io)."""


@dataclass(frozen=True)
class NiftiHeader:
    """The fields of a NIfTI header that say where voxels are and what they mean; names are the standard's.

    Attributes:
        version: 1 or 2.
        byteorder: "<" or ">".
        dim: sizes of the axes that dim[0] counts: x, y, z, t, …
        datatype: code of the number type.
        pixdim: qfac, then the spacing of x, y, z, in the file's unit.
        step: pixdim[4], along the fourth axis, in the file's unit of it.
        vox_offset: first byte of the voxels.
        pair: whether they lie in an .img file beside this header.
        srow: rows x, y, z of the sform.
        quatern: b, c, d of the qform's rotation.
        qoffset: its translation.
    """

    version: int
    byteorder: str
    dim: tuple[int, ...]
    datatype: int
    pixdim: tuple[float, float, float, float]
    step: float
    vox_offset: int
    pair: bool
    scl_slope: float
    scl_inter: float
    xyzt_units: int
    qform_code: int
    sform_code: int
    quatern: tuple[float, float, float]
    qoffset: tuple[float, float, float]
    srow: tuple[tuple[float, ...], ...]

    @property
    def dtype(self) -> np.dtype:
        """Number type as in the file, byte order included.

        Raises:
            Rejected: UNSUPPORTED, colour, complex, 1-bit, 128-bit or an unknown code.
        """
        if self.datatype not in _DTYPES:
            kind = _OTHER_TYPES.get(self.datatype, "unknown")
            raise Rejected(
                Reason.UNSUPPORTED, f"datatype {self.datatype} ({kind}); integers and floats of 8 to 64 bits are read"
            )
        return np.dtype(self.byteorder + _DTYPES[self.datatype])

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Voxels along z, y, x. Further axes of length 1 are dropped.

        Raises:
            Rejected: NOT_A_VOLUME, fewer than three axes or several values per voxel; TEMPORAL, several time points.
        """
        if any(n < 1 for n in self.dim):
            raise Rejected(Reason.UNREADABLE, f"dim holds {self.dim}; sizes are 1 or more")
        shown = "×".join(str(n) for n in self.dim)
        if len(self.dim) < 3:
            raise Rejected(Reason.NOT_A_VOLUME, f"expected three axes, found {len(self.dim)}: {shown}")
        if any(n > 1 for n in self.dim[4:]):
            raise Rejected(Reason.NOT_A_VOLUME, f"expected one value per voxel, found {shown} (x, y, z, t, values)")
        if len(self.dim) > 3 and self.dim[3] > 1:
            raise Rejected(Reason.TEMPORAL, f"{self.dim[3]} time points in one file: {shown} (x, y, z, t); {IF_WANTED}")
        x, y, z = self.dim[:3]
        return z, y, x

    @property
    def time_points(self) -> int:
        """Volumes along the fourth axis; 1 where there is none, or where several values per voxel follow."""
        return self.dim[3] if len(self.dim) > 3 and all(n == 1 for n in self.dim[4:]) else 1

    @property
    def scaling(self) -> tuple[float, float]:
        """(scale, offset) of `physical = stored * scale + offset`."""
        if self.scl_slope == 0 or not math.isfinite(self.scl_slope) or not math.isfinite(self.scl_inter):
            return 1.0, 0.0
        return self.scl_slope, self.scl_inter


def parse_header(prefix: bytes) -> NiftiHeader:
    """The header from the first bytes of an uncompressed file (`inflate.gunzip_prefix` of a compressed one).

    Raises:
        Rejected: UNREADABLE, not a NIfTI header; UNSUPPORTED, one of ANALYZE 7.5.
    """
    for order in "<>":
        size = struct.unpack_from(order + "i", prefix.ljust(4, b"\0"))[0]
        if size == _NIFTI1_BYTES and len(prefix) >= _NIFTI1_BYTES:
            return _parse_nifti1(prefix, order)
        if size == _NIFTI2_BYTES and len(prefix) >= _NIFTI2_BYTES:
            return _parse_nifti2(prefix, order)
    raise Rejected(
        Reason.UNREADABLE,
        f"expected a NIfTI header to start with its size, 348 or 540, found {prefix[:4].hex() or 'nothing'} in {len(prefix)} bytes",
    )


def _parse_nifti1(b: bytes, order: str) -> NiftiHeader:
    magic = b[344:348]
    if magic != b"ni1\0" and magic[:2] != b"n+":
        raise Rejected(
            Reason.UNSUPPORTED,
            "expected a NIfTI-1 (magic n+1, or ni1 of a pair), found an ANALYZE 7.5 header, which has no orientation; "
            "convert it to .nii",
        )
    dim = struct.unpack_from(order + "8h", b, 40)
    qform_code, sform_code = struct.unpack_from(order + "2h", b, 252)
    placed = struct.unpack_from(order + "18f", b, 256)
    vox_offset, slope, inter = struct.unpack_from(order + "3f", b, 108)
    return _header(
        1, order, dim, pair=magic[:2] == b"ni",
        datatype=struct.unpack_from(order + "h", b, 70)[0],
        pixdim=struct.unpack_from(order + "5f", b, 76),
        vox_offset=vox_offset, slope=slope, inter=inter, units=b[123],
        codes=(qform_code, sform_code), placed=placed,
    )  # fmt: skip


def _parse_nifti2(b: bytes, order: str) -> NiftiHeader:
    if b[4:7] not in (b"n+2", b"ni2") or b[8:12] != _MAGIC2_TAIL:
        raise Rejected(
            Reason.UNREADABLE, f"expected the magic of a NIfTI-2, found {b[4:12].hex()}: damaged in transfer?"
        )
    return _header(
        2, order, struct.unpack_from(order + "8q", b, 16), pair=b[4:6] == b"ni",
        datatype=struct.unpack_from(order + "h", b, 12)[0],
        pixdim=struct.unpack_from(order + "5d", b, 104),
        vox_offset=struct.unpack_from(order + "q", b, 168)[0],
        slope=struct.unpack_from(order + "d", b, 176)[0],
        inter=struct.unpack_from(order + "d", b, 184)[0],
        units=struct.unpack_from(order + "i", b, 500)[0],
        codes=struct.unpack_from(order + "2i", b, 344),
        placed=struct.unpack_from(order + "18d", b, 352),
    )  # fmt: skip


def _header(
    version: int, order: str, dim: tuple[int, ...], *, pair: bool,
    datatype: int, pixdim: tuple[float, ...], vox_offset: float, slope: float, inter: float, units: int,
    codes: tuple[int, ...], placed: tuple[float, ...],
) -> NiftiHeader:  # fmt: skip
    if not 1 <= dim[0] <= 7:
        raise Rejected(Reason.UNREADABLE, f"dim[0] is {dim[0]}; a NIfTI has 1 to 7 axes")
    least = 0 if pair else _NIFTI1_BYTES if version == 1 else _NIFTI2_BYTES
    if not math.isfinite(vox_offset) or vox_offset < 0 or 0 < vox_offset < least:
        raise Rejected(Reason.UNREADABLE, f"vox_offset is {vox_offset:g}, inside the header of {least} bytes")
    return NiftiHeader(
        version=version,
        byteorder=order,
        dim=tuple(int(n) for n in dim[1 : dim[0] + 1]),
        datatype=datatype,
        pixdim=(pixdim[0], pixdim[1], pixdim[2], pixdim[3]),
        step=pixdim[4],
        vox_offset=int(vox_offset)
        or (0 if pair else least + 4),  # 0 means right after the header and its extension flag
        pair=pair,
        scl_slope=slope,
        scl_inter=inter,
        xyzt_units=units,
        qform_code=codes[0],
        sform_code=codes[1],
        quatern=(placed[0], placed[1], placed[2]),
        qoffset=(placed[3], placed[4], placed[5]),
        srow=(placed[6:10], placed[10:14], placed[14:18]),
    )


def one_volume(
    h: NiftiHeader, component: int | None, placement: str | None = None, components: int | None = None
) -> NiftiHeader:
    """The header as if the file held one volume of those along its fourth axis, placed by the form that counts.

    Args:
        h: the header.
        component: which volume, from 0; None: the file must hold one.
        placement: "qform": the sform does not count; None: the rules of this module.
        components: how many volumes the file must hold; None: whatever number.

    Raises:
        Rejected: NOT_A_VOLUME, the file has no such volume, another number of them, or several values per voxel besides.
    """
    if placement == "qform":
        h = replace(h, sform_code=0)
    if component is None:
        return h
    shown = "×".join(str(n) for n in h.dim)
    if len(h.dim) < 3 or any(n != 1 for n in h.dim[4:]):
        raise Rejected(Reason.NOT_A_VOLUME, f"expected four axes (x, y, z, volume), found {shown}")
    volumes = h.dim[3] if len(h.dim) > 3 else 1
    if not 0 <= component < volumes:
        raise Rejected(Reason.NOT_A_VOLUME, f"expected a volume {component} (from 0), found {volumes} volumes: {shown}")
    if components is not None and volumes != components:
        raise Rejected(Reason.NOT_A_VOLUME, f"expected {components} volumes in the file, found {volumes}: {shown}")
    start = component * math.prod(h.dim[:3]) * h.dtype.itemsize
    return replace(h, dim=h.dim[:3], vox_offset=h.vox_offset + start)


def sform(h: NiftiHeader) -> Affine:
    """Affine of the sform in the file's unit, RAS world."""
    affine = np.eye(4)
    affine[:3] = h.srow
    return affine


def qform(h: NiftiHeader) -> Affine:
    """Affine of the qform in the file's unit, RAS world.

    Raises:
        Rejected: BAD_AFFINE, the quaternion is not a rotation.
    """
    b, c, d = h.quatern
    length = b * b + c * c + d * d
    if not math.isfinite(length) or length > 1.0 + _QUATERNION_TOLERANCE:
        raise Rejected(
            Reason.BAD_AFFINE, f"the qform's quaternion ({b:g}, {c:g}, {d:g}) is longer than 1: not a rotation"
        )
    a = math.sqrt(max(0.0, 1.0 - length))
    if 1.0 - length < _HALF_TURN:  # a half turn: a is 0 and the rest is made a unit, as nifti1_io does
        root = math.sqrt(length)
        a, b, c, d = 0.0, b / root, c / root, d / root
    rotation = [
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ]
    qfac = -1.0 if h.pixdim[0] < 0 else 1.0
    _, dx, dy, dz = h.pixdim
    return geometry.compose(rotation, (dx, dy, qfac * dz), h.qoffset)


def affine_ras(h: NiftiHeader, name: str) -> tuple[Affine, tuple[Finding, ...]]:
    """Index (x, y, z) → mm in RAS by the module's rules, and what was noticed.

    Args:
        h: the header.
        name: of the array, for the findings.

    Raises:
        Rejected: NO_GEOMETRY, neither sform nor qform is usable, or the unit is no length; BAD_SPACING; BAD_AFFINE;
            SHEARED.
    """
    if h.sform_code <= 0 and h.qform_code <= 0:
        raise Rejected(
            Reason.NO_GEOMETRY,
            f"sform_code is {h.sform_code} and qform_code {h.qform_code}: the file says not where its voxels are",
        )
    unit = h.xyzt_units & SPATIAL_UNIT_BITS
    if unit not in UNIT_MM:
        raise Rejected(Reason.NO_GEOMETRY, f"xyzt_units {h.xyzt_units} names no unit of length")
    check_spacing(h.pixdim[1:])
    findings = []
    if unit in _UNIT_NAMES:
        findings.append(
            Finding("unit_converted", name, f"lengths are in {_UNIT_NAMES[unit]}: multiplied by {UNIT_MM[unit]:g}")
        )
    elif unit == 0:
        findings.append(Finding("unit_unstated", name, "xyzt_units names no unit of length: taken for mm"))
    affine = _in_mm(sform(h) if h.sform_code > 0 else qform(h), UNIT_MM[unit])
    check_affine(affine)
    spacing = geometry.spacing_xyz_mm(affine)
    if h.sform_code > 0:
        findings += _sform_findings(h, affine, spacing, UNIT_MM[unit], name)
    return affine, tuple(findings)


def _sform_findings(
    h: NiftiHeader, affine: Affine, spacing: tuple[float, float, float], unit_mm: float, name: str
) -> list[Finding]:
    findings = []
    pixdim = [p * unit_mm for p in h.pixdim[1:]]
    if any(abs(p - s) > PIXDIM_TOLERANCE * s for p, s in zip(pixdim, spacing, strict=True)):
        findings.append(
            Finding(
                "pixdim_differs",
                name,
                f"pixdim says {_shown(pixdim)} mm, the sform {_shown(spacing)} mm; the sform is used",
            )
        )
    if h.qform_code > 0:
        try:
            gap_mm = furthest_corner_mm(affine, _in_mm(qform(h), unit_mm), h.shape_zyx)
        except Rejected as broken:
            return [*findings, Finding("qform_differs", name, f"{broken.detail}; the sform is used")]
        if gap_mm > FORM_TOLERANCE_VOXELS * min(spacing):
            findings.append(
                Finding(
                    "qform_differs",
                    name,
                    f"sform (code {h.sform_code}) and qform (code {h.qform_code}) put a corner {gap_mm:.3f} mm apart; the sform is used",
                )
            )
    return findings


def _in_mm(affine: Affine, unit_mm: float) -> Affine:
    result = affine.copy()
    result[:3] *= unit_mm
    return result


def _shown(lengths: list[float] | tuple[float, ...]) -> str:
    return "×".join(f"{v:.6g}" for v in lengths)
