"""NIfTI-1 and NIfTI-2 in one file, plain or gzip: header, geometry, and voxels as a view of the buffer.

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
import numpy.typing as npt

from mdfp import geometry
from mdfp.geometry import Affine
from mdfp.sample import Finding
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import inflate
from transforms.read.header import (
    IF_WANTED,
    ReadHeader,
    array_header,
    check_affine,
    check_extent,
    check_spacing,
    furthest_corner_mm,
)
from transforms.rejected import Rejected
from transforms.scratch import Bytes
from transforms.volume import Volume

HEADER_PREFIX_BYTES = 4096
"""Bytes of a file, plain or gzip, that always hold its header."""

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


NO_IMG = "the header is one of a pair, and there is no .img or .img.gz of its name beside it"
"""What is wrong where the voxels of a pair are missing."""


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


_EXCESS_BYTES = 1 << 20
"""A gzip stream may hold this much more than twice what its header announces; beyond, it is taken for a bomb."""
MAX_OFFSET_BYTES = 256 << 20
_QUATERNION_TOLERANCE = 1e-3
"""Length (squared) of the quaternion's vector part above 1 that is taken for rounding in single precision."""
_HALF_TURN = 1e-7
"""Below this the scalar part of the quaternion, squared, is rounding noise (its value in nifti1_io)."""


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


def header(
    prefix: bytes,
    *,
    name: str,
    file_bytes: int,
    limits: Limits,
    component: int | None = None,
    components: int | None = None,
    placement: str | None = None,
) -> ReadHeader:
    """The header's record from the first `HEADER_PREFIX_BYTES` of a file.

    Args:
        prefix: first bytes of the file, plain or gzip.
        name: of the array within its case.
        file_bytes: size of the whole file.
        limits: what an array may cost.
        component: which volume of a file of four axes; see `one_volume`.
        components: how many of them there must be; see `one_volume`.
        placement: which form counts; see `one_volume`.

    Raises:
        Rejected: as `parse_header`, `one_volume`, `NiftiHeader.dtype`, `NiftiHeader.shape_zyx`, `check_extent` and
            `affine_ras` do; TRUNCATED, a plain file is shorter than its header announces; EXPANSION, a gzip stream
            cannot hold it.
    """
    plain = not inflate.is_gzip(prefix)
    whole = file_header(prefix)
    h = one_volume(whole, component, placement, components)
    dtype, shape_zyx = h.dtype, h.shape_zyx
    check_extent(shape_zyx, dtype.itemsize, limits)
    _check_content(whole, limits)
    affine, findings = affine_ras(h, name)
    if whole.sform_code > h.sform_code:
        detail = f"sform_code is {whole.sform_code}; by the source manifest the qform is used"
        findings += (Finding("sform_passed_over", name, detail),)
    _check_offset(whole)
    if not plain:
        inflate.check_holds(file_bytes, _content_bytes(whole))
    elif not whole.pair:
        _check_length(whole, file_bytes)
    scale, offset = h.scaling
    if (scale, offset) == (1.0, 0.0) and h.scl_slope not in (0.0, 1.0) and math.isfinite(h.scl_slope):
        findings += (
            Finding(
                "scaling_ignored",
                name,
                f"scl_slope {h.scl_slope:g} stands with scl_inter {h.scl_inter}: neither is used",
            ),
        )
    record = array_header(
        name=name, format="nifti", shape_zyx=shape_zyx, affine_ras=affine, dtype=dtype,
        scale=scale, offset=offset, file_bytes=file_bytes,
    )  # fmt: skip
    return ReadHeader(replace(record, component=component, placement=placement), findings)


def data_file(name: str) -> tuple[str, ...]:
    """Names that the file with the voxels of a pair may have, by the name of its header; none for other names."""
    return (f"{name[:-4]}.img", f"{name[:-4]}.img.gz") if name.lower().endswith(".hdr") else ()


def read(
    data: Bytes,
    *,
    limits: Limits,
    voxels: Bytes | None = None,
    component: int | None = None,
    placement: str | None = None,
) -> Volume:
    """The volume in a whole file, plain or gzip, or in a pair; of a file of four axes the one that `component` says.

    The array is a view of the buffer: no copy but for big-endian and unaligned voxels. It is read-only where `data`
    is the file itself. Memory: the inflated content, besides `data`.

    Args:
        data: the file, or the header of a pair.
        limits: what an array may cost.
        voxels: the other file of a pair.
        component: see `one_volume`.
        placement: see `one_volume`.

    Raises:
        Rejected: as `header` does; CORRUPT_GZIP; TRUNCATED, fewer voxels than the header announces; MISSING_FILE, a pair
            without the file of its voxels.
    """
    whole = file_header(bytes(data[:HEADER_PREFIX_BYTES]))
    h = one_volume(whole, component, placement)
    stored, affine = _stored(data, whole, h, h.shape_zyx, limits, voxels)
    scale, offset = h.scaling
    return Volume(stored, affine, scale, offset)


def read_all(
    data: Bytes, *, limits: Limits, voxels: Bytes | None = None, placement: str | None = None
) -> tuple[npt.NDArray, Volume]:
    """All volumes of a file of four axes: an array (t, z, y, x), and the first of them. Arguments and faults as `read`."""
    whole = file_header(bytes(data[:HEADER_PREFIX_BYTES]))
    h = one_volume(whole, 0, placement)
    stored, affine = _stored(data, whole, h, (whole.dim[3] if len(whole.dim) > 3 else 1, *h.shape_zyx), limits, voxels)
    scale, offset = h.scaling
    return stored, Volume(stored[0], affine, scale, offset)


def file_header(prefix: bytes) -> NiftiHeader:
    """`parse_header` of a file, plain or gzip, from its first `HEADER_PREFIX_BYTES`."""
    return parse_header(inflate.gunzip_prefix(prefix, HEADER_PREFIX_BYTES) if inflate.is_gzip(prefix) else prefix)


def _stored(
    data: Bytes, whole: NiftiHeader, h: NiftiHeader, shape: tuple[int, ...], limits: Limits, voxels: Bytes | None
) -> tuple[npt.NDArray, Affine]:
    """Stored values of this shape from where `h` says that they begin, and where they lie."""
    dtype = h.dtype
    check_extent(h.shape_zyx, dtype.itemsize, limits)
    _check_content(whole, limits)
    affine, _ = affine_ras(h, "")
    _check_offset(whole)
    stream = data
    if whole.pair:
        if voxels is None:
            raise Rejected(Reason.MISSING_FILE, NO_IMG)
        stream = voxels
    content: Bytes | inflate.Content = stream
    if inflate.is_gzip(stream):
        expected = _content_bytes(whole)
        inflate.check_holds(len(stream), expected)
        content = inflate.gunzip(stream, max_bytes=2 * expected + _EXCESS_BYTES, expected_bytes=expected)
    _check_length(whole, len(content))
    stored: npt.NDArray = np.frombuffer(content, dtype, count=math.prod(shape), offset=h.vox_offset)
    if not dtype.isnative or not stored.flags.aligned:
        stored = stored.astype(dtype.newbyteorder("="))
    return stored.reshape(shape), affine


def _content_bytes(h: NiftiHeader) -> int:
    """Header (but of a pair) and voxels of all volumes, uncompressed."""
    return h.vox_offset + math.prod(h.dim) * h.dtype.itemsize


def _check_content(h: NiftiHeader, limits: Limits) -> None:
    """Refuse a file of several volumes that together are too large: all are inflated to reach one of them."""
    voxel_bytes = math.prod(h.dim) * h.dtype.itemsize
    if voxel_bytes > limits.max_bytes:
        shown = "×".join(str(n) for n in h.dim)
        raise Rejected(
            Reason.TOO_LARGE,
            f"the header announces {shown}, {voxel_bytes} bytes in memory; the recipe's limits allow {limits.max_bytes}",
        )


def _check_offset(h: NiftiHeader) -> None:
    """What lies before the voxels (extensions) is inflated with them."""
    if h.vox_offset > MAX_OFFSET_BYTES:
        raise Rejected(
            Reason.TOO_LARGE, f"vox_offset is {h.vox_offset}; {MAX_OFFSET_BYTES} bytes before the voxels are allowed"
        )


def _check_length(h: NiftiHeader, found_bytes: int) -> None:
    expected = _content_bytes(h)
    if found_bytes < expected:
        raise Rejected(Reason.TRUNCATED, f"expected {expected} bytes of header and voxels, found {found_bytes}")
