"""Inputs made of NIfTI, MetaImage and NRRD: small sound volumes, and what strangers do to them. Equal calls, equal bytes."""

from __future__ import annotations

import bz2
import gzip
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from schemas.reasons import Reason

SHAPE_XYZ = (12, 10, 8)
SPACING = (1.5, 1.25, 2.0)


@dataclass(frozen=True)
class Input:
    """Something to put before the pipelines.

    Attributes:
        name: folder or archive below the source's root; a path's first part.
        files: content by path below the source's root.
        reason: by which it must be refused; None: it is sound and must come out.
        source: the source it is put into.
        rows: what the source's table says of it.
    """

    name: str
    files: dict[str, bytes] = field(repr=False)
    reason: Reason | None
    source: str
    rows: tuple[dict[str, str], ...] = ()


def voxels(seed: int = 0) -> np.ndarray:
    """(z, y, x) int16, HU of a ball with noise."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[: SHAPE_XYZ[2], : SHAPE_XYZ[1], : SHAPE_XYZ[0]]
    ball = (x - 6) ** 2 + (y - 5) ** 2 + (z - 4) ** 2 < 14
    return (np.where(ball, 60, -900) + rng.integers(-20, 20, ball.shape)).astype(np.int16)


def mask() -> np.ndarray:
    """(z, y, x) uint8 with a box of liver."""
    result = np.zeros(SHAPE_XYZ[::-1], np.uint8)
    result[2:6, 3:7, 4:9] = 1
    return result


def nifti(
    array: np.ndarray | None = None,
    *,
    dim: tuple[int, ...] | None = None,
    datatype: int | None = None,
    pixdim: tuple[float, ...] = SPACING,
    srow: np.ndarray | None = None,
    codes: tuple[int, int] = (0, 1),
    quatern: tuple[float, float, float] = (0, 0, 0),
    vox_offset: float = 352,
    magic: bytes = b"n+1\0",
    order: str = "<",
) -> bytes:
    """A single-file NIfTI-1, any field of which may lie."""
    array = voxels() if array is None else array
    shape = dim or (array.ndim, *array.shape[::-1])
    code = datatype if datatype is not None else {"int16": 4, "uint8": 2, "float32": 16}[array.dtype.name]
    srow = np.diag([*SPACING, 1.0])[:3] if srow is None else srow
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, 348)
    struct.pack_into(order + "8h", header, 40, *shape, *[1] * (8 - len(shape)))
    struct.pack_into(order + "2h", header, 70, code, array.dtype.itemsize * 8)
    struct.pack_into(order + "4f", header, 76, 1.0, *pixdim)
    struct.pack_into(order + "3f", header, 108, vox_offset, 0.0, 0.0)
    header[123] = 2
    struct.pack_into(order + "2h", header, 252, *codes)
    struct.pack_into(order + "3f", header, 256, *quatern)
    struct.pack_into(order + "12f", header, 280, *np.asarray(srow).ravel())
    header[344:348] = magic
    return bytes(header) + array.astype(array.dtype.newbyteorder(order)).tobytes()


def packed(data: bytes) -> bytes:
    """gzip, the same bytes each time."""
    return gzip.compress(data, mtime=0)


def metaimage(array: np.ndarray | None = None, *, data: bytes | None = None, **changes: str | None) -> bytes:
    """A MetaImage; a field that is None is left out."""
    array = voxels() if array is None else array
    fields: dict[str, str | None] = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False", "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0",
        "ElementSpacing": " ".join(map(str, SPACING)), "DimSize": " ".join(map(str, array.shape[::-1])),
        "ElementType": {"int16": "MET_SHORT", "uint8": "MET_UCHAR"}[array.dtype.name],
    } | changes  # fmt: skip
    location = fields.pop("ElementDataFile", "LOCAL")
    lines = [f"{k} = {v}" for k, v in fields.items() if v is not None]
    if location is not None:
        lines.append(f"ElementDataFile = {location}")
    return "\n".join(lines).encode() + b"\n" + (array.tobytes() if data is None else data)


def nrrd(array: np.ndarray | None = None, *, data: bytes | None = None, **changes: str | None) -> bytes:
    """A NRRD; a field (an underscore for a space) that is None is left out."""
    array = voxels() if array is None else array
    x, y, z = SPACING
    fields: dict[str, str | None] = {
        "type": {"int16": "short", "uint8": "uchar"}[array.dtype.name], "dimension": "3",
        "space": "left-posterior-superior", "sizes": " ".join(map(str, array.shape[::-1])),
        "space directions": f"({x},0,0) (0,{y},0) (0,0,{z})", "kinds": "domain domain domain",
        "endian": "little", "encoding": "raw", "space origin": "(0,0,0)",
    } | {k.replace("_", " "): v for k, v in changes.items()}  # fmt: skip
    lines = ["NRRD0004", *(f"{k}: {v}" for k, v in fields.items() if v is not None)]
    return "\n".join(lines).encode() + b"\n\n" + (array.tobytes() if data is None else data)


def flipped(data: bytes, at: int) -> bytes:
    """The same with one bit changed."""
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def _with_label(name: str, label: bytes, reason: Reason | None, image: bytes | None = None, end: str = ".nii") -> Input:
    image = nifti() if image is None else image
    return Input(name, {f"{name}/image.nii": image, f"{name}/label{end}": label}, reason, "files")


def good() -> list[Input]:
    """Sound cases in every format, and under every kind of name."""
    names = {
        "good-nifti": (".nii", nifti(voxels(1))),
        "good-gzip": (".nii.gz", packed(nifti(voxels(2)))),
        "good-big-endian": (".nii", nifti(voxels(3), order=">")),
        "good-metaimage": (".mha", metaimage(voxels(4))),
        "good-nrrd": (".nrrd", nrrd(voxels(5), encoding="gzip", data=packed(voxels(5).tobytes()))),
        "good with spaces": (".nii", nifti(voxels(6))),
        "good\nline break": (".nii", nifti(voxels(7))),
        "善い-хороший-جيد": (".nii", nifti(voxels(8))),
        "good;rm -rf $HOME & <b>'\"": (".nii", nifti(voxels(9))),
    }
    result = [Input(n, {f"{n}/image{end}": data}, None, "files") for n, (end, data) in names.items()]
    return [*result, _with_label("good-label", nifti(mask()), None, nifti(voxels(10)))]


def bad() -> list[Input]:
    """Broken and hostile files, each with the reason by which it must be refused."""
    image = nifti()
    whole = packed(image)
    noise = random.Random(5).randbytes
    nan, inf = float("nan"), float("inf")
    sheared = np.diag([*SPACING, 1.0])[:3].copy()
    sheared[0, 1] = 0.4
    flat = np.diag([*SPACING, 1.0])[:3].copy()
    flat[:, 1] = flat[:, 0]
    bomb = nifti() + bytes(300 << 20)
    rows: list[tuple[str, str, bytes | Callable[[], bytes], Reason]] = [
        ("nifti-empty", ".nii", b"", Reason.UNREADABLE),
        ("nifti-text", ".nii", b"<html>404 not found</html>", Reason.UNREADABLE),
        ("nifti-noise", ".nii.gz", noise(5000), Reason.UNREADABLE),
        ("nifti-gzip-cut", ".nii.gz", whole[: len(whole) // 2], Reason.CORRUPT_GZIP),
        ("nifti-gzip-without-trailer", ".nii.gz", whole[:-8], Reason.CORRUPT_GZIP),
        ("nifti-gzip-checksum", ".nii.gz", flipped(whole, len(whole) - 6), Reason.CORRUPT_GZIP),
        ("nifti-gzip-bit", ".nii.gz", flipped(whole, len(whole) // 2), Reason.CORRUPT_GZIP),
        ("nifti-gzip-garbage-behind", ".nii.gz", whole + b"garbage", Reason.CORRUPT_GZIP),
        ("nifti-gzip-bomb", ".nii.gz", packed(bomb), Reason.TOO_LARGE),
        ("nifti-gzip-lie", ".nii.gz", packed(nifti(dim=(3, 2000, 2000, 400))), Reason.EXPANSION),
        ("nifti-cut", ".nii", image[:-100], Reason.TRUNCATED),
        ("nifti-gzip-short", ".nii.gz", packed(image[:-100]), Reason.TRUNCATED),
        ("nifti-huge", ".nii", nifti(dim=(3, 30000, 30000, 30000)), Reason.TOO_LARGE),
        ("nifti-negative-size", ".nii", nifti(dim=(3, -12, 10, 8)), Reason.UNREADABLE),
        ("nifti-no-axes", ".nii", nifti(dim=(0, 12, 10, 8)), Reason.UNREADABLE),
        ("nifti-mixed-endian", ".nii", image[:4] + nifti(order=">")[4:], Reason.UNREADABLE),
        ("nifti-2d", ".nii", nifti(dim=(2, 12, 10)), Reason.NOT_A_VOLUME),
        ("nifti-4d", ".nii", nifti(dim=(4, 12, 10, 4, 2)), Reason.TEMPORAL),
        ("nifti-5d", ".nii", nifti(dim=(5, 12, 10, 4, 1, 2)), Reason.NOT_A_VOLUME),
        ("nifti-nan-affine", ".nii", nifti(srow=np.full((3, 4), nan)), Reason.BAD_AFFINE),
        ("nifti-inf-spacing", ".nii", nifti(pixdim=(inf, 1, 1)), Reason.BAD_SPACING),
        ("nifti-zero-spacing", ".nii", nifti(pixdim=(0, 1, 1)), Reason.BAD_SPACING),
        ("nifti-negative-spacing", ".nii", nifti(pixdim=(1, -1, 1)), Reason.BAD_SPACING),
        ("nifti-singular", ".nii", nifti(srow=flat), Reason.BAD_AFFINE),
        ("nifti-sheared", ".nii", nifti(srow=sheared), Reason.SHEARED),
        ("nifti-nowhere", ".nii", nifti(codes=(0, 0)), Reason.NO_GEOMETRY),
        ("nifti-quaternion", ".nii", nifti(codes=(1, 0), quatern=(1, 1, 1)), Reason.BAD_AFFINE),
        ("nifti-complex", ".nii", nifti(datatype=32), Reason.UNSUPPORTED),
        ("nifti-unknown-type", ".nii", nifti(datatype=9999), Reason.UNSUPPORTED),
        ("nifti-analyze", ".nii", nifti(magic=b"\0\0\0\0"), Reason.UNSUPPORTED),
        ("nifti-offset-inside", ".nii", nifti(vox_offset=100), Reason.UNREADABLE),
        ("nifti-offset-huge", ".nii.gz", packed(nifti(vox_offset=1e30)), Reason.TOO_LARGE),
        ("nifti-not-numbers", ".nii", nifti(np.full(SHAPE_XYZ[::-1], nan, np.float32)), Reason.NOT_FINITE),
        ("mha-cut", ".mha", metaimage()[:-50], Reason.TRUNCATED),
        ("mha-noise", ".mha", noise(3000), Reason.UNREADABLE),
        ("mha-no-data", ".mha", metaimage(ElementDataFile=None), Reason.UNREADABLE),
        ("mha-huge", ".mha", metaimage(DimSize="16000 16000 16000"), Reason.TOO_LARGE),
        ("mha-digits", ".mha", metaimage(NDims="6", DimSize=" ".join(["9" * 4000] * 6)), Reason.UNREADABLE),
        ("mha-zero-spacing", ".mha", metaimage(ElementSpacing="0 1 1"), Reason.BAD_SPACING),
        ("mha-negative-spacing", ".mha", metaimage(ElementSpacing="1 -1 1"), Reason.BAD_SPACING),
        ("mha-no-spacing", ".mha", metaimage(ElementSpacing=None), Reason.NO_GEOMETRY),
        ("mha-nan-offset", ".mha", metaimage(Offset="nan 0 0"), Reason.BAD_AFFINE),
        ("mha-singular", ".mha", metaimage(TransformMatrix="1 0 0 1 0 0 0 0 1"), Reason.BAD_AFFINE),
        ("mha-colour", ".mha", metaimage(ElementNumberOfChannels="3"), Reason.UNSUPPORTED),
        ("mha-zlib-damaged", ".mha",
         metaimage(CompressedData="True", data=flipped(zlib.compress(voxels().tobytes()), 300)), Reason.CORRUPT_GZIP),
        ("mha-zlib-lie", ".mha",
         metaimage(CompressedData="True", DimSize="1000 1000 1000", data=zlib.compress(bytes(99))), Reason.EXPANSION),
        ("mhd-elsewhere", ".mhd", metaimage(ElementDataFile="../../../etc/passwd", data=b""), Reason.UNSUPPORTED),
        ("mhd-absolute", ".mhd", metaimage(ElementDataFile="/etc/passwd", data=b""), Reason.UNSUPPORTED),
        ("mhd-alone", ".mhd", metaimage(ElementDataFile="image.raw", data=b""), Reason.MISSING_FILE),
        ("nrrd-gzip-cut", ".nrrd", nrrd(encoding="gzip", data=packed(voxels().tobytes())[:-20]), Reason.CORRUPT_GZIP),
        ("nrrd-gzip-lie", ".nrrd", nrrd(encoding="gzip", sizes="1000 1000 1000", data=packed(b"1")), Reason.EXPANSION),
        ("nrrd-bzip2-cut", ".nrrd", nrrd(encoding="bzip2", data=bz2.compress(voxels().tobytes())[:-90]), Reason.TRUNCATED),
        ("nrrd-bzip2-more", ".nrrd", nrrd(encoding="bzip2", data=bz2.compress(bytes(50 << 20))), Reason.CORRUPT_GZIP),
        ("nrrd-no-space", ".nrrd", nrrd(space=None), Reason.NO_GEOMETRY),
        ("nrrd-no-origin", ".nrrd", nrrd(space_origin=None), Reason.NO_GEOMETRY),
        ("nrrd-nan-direction", ".nrrd", nrrd(space_directions="(nan,0,0) (0,1,0) (0,0,1)"), Reason.BAD_AFFINE),
        ("nrrd-parentheses", ".nrrd", nrrd(space_directions="(" * 60_000), Reason.UNREADABLE),
        ("nrrd-skip-huge", ".nrrd", nrrd(byte_skip=str(10**15)), Reason.TOO_LARGE),
        ("nrrd-skip-back", ".nrrd", nrrd(byte_skip="-1000"), Reason.UNREADABLE),
        ("nrrd-list", ".nhdr", nrrd(data_file="LIST", data=b""), Reason.UNSUPPORTED),
        ("nrrd-elsewhere", ".nhdr", nrrd(data_file="../secret.raw", data=b""), Reason.UNSUPPORTED),
        ("nrrd-no-endian", ".nrrd", nrrd(endian=None), Reason.UNREADABLE),
        ("nrrd-text", ".nrrd", nrrd(encoding="ascii"), Reason.UNSUPPORTED),
    ]  # fmt: skip
    result = [Input(n, {f"{n}/image{end}": data}, reason, "files") for n, end, data, reason in rows]
    moved = np.diag([*SPACING, 1.0])[:3].copy()
    moved[0, 3] = 40
    return [
        *result,
        _with_label("label-elsewhere", nifti(mask(), srow=moved), Reason.LABEL_GRID),
        _with_label("label-unmapped", nifti(mask() * 7), Reason.UNMAPPED_LABEL),
        _with_label("label-halves", nifti(mask().astype(np.float32) / 2), Reason.LABEL_NOT_INTEGER),
        _with_label("label-cut", packed(nifti(mask()))[:-9], Reason.LABEL_UNREADABLE, end=".nii.gz"),
        Input("label-alone", {"label-alone/label.nii": nifti(mask())}, Reason.NO_IMAGE, "files"),
        Input(
            "two-images",
            {f"two-images/image{e}": image for e in (".nii", ".nii.gz")},
            Reason.CONFLICTING_FILES,
            "files",
        ),
        Input("not-utf8-\\xff", {"not-utf8-\udcff/image.nii": image}, Reason.UNSUPPORTED, "files"),
        Input("nobody-asked", {"nobody-asked/other.nii": image}, Reason.UNMATCHED, "files"),
    ]
