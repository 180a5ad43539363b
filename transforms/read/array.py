"""One door for every format: what a file's name says it is, its header, its voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from mdfp import geometry
from mdfp.geometry import Affine
from schemas.case import ArrayHeader
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import dicom, drawing, itk, lidc, nifti, nifti_colour, raster, segment, series, video
from transforms.read.header import ReadHeader, affine_of
from transforms.read.kept_content import KeptContent
from transforms.rejected import Rejected
from transforms.scratch import Bytes
from transforms.volume import Volume

_NIFTI = (".nii", ".nii.gz", ".hdr")
_ITK = (".mha", ".mhd", ".nrrd", ".nhdr")
_DICOM = (".dcm", ".dicom", ".ima")

PREFIX_BYTES = {"nifti": nifti.HEADER_PREFIX_BYTES, "itk": itk.HEADER_PREFIX_BYTES}
"""How much of a file `read_header` needs, by format."""


@dataclass(frozen=True)
class Blob:
    """One object of an array, brought to this machine.

    Attributes:
        path: its place below the source's root.
        data: its bytes; may be empty where `local` is given.
        local: the file itself, where it lies on a disk.
        kept: where its inflated content is kept, if others read it too.
    """

    path: str
    data: Bytes
    local: Path | None = None
    kept: KeptContent | None = None

    def content(self) -> Bytes:
        """Its bytes, from memory or else from the disk."""
        return self.local.read_bytes() if not self.data and self.local is not None else self.data


def format_of(path: str) -> str | None:
    """Format that a file's name promises: nifti, itk, dicom, png, jpeg, tiff or video; None for a file that holds no array of its own.

    DICOM files often have no suffix, or end in a number (a UID or a counter), so such names count as DICOM until their
    content says otherwise. Detached voxels (.raw, .zraw, .img) are no array of their own.
    """
    name = PurePosixPath(path).name.lower()
    if name.endswith(_NIFTI):
        return "nifti"
    if name.endswith(_ITK):
        return "itk"
    suffix = PurePosixPath(name).suffix
    if suffix in video.SUFFIXES:
        return "video"
    if suffix in raster.SUFFIXES:
        return raster.SUFFIXES[suffix]
    if name.endswith(_DICOM) or (not name.startswith(".") and (not suffix or suffix[1:].isdigit())):
        return "dicom"
    return None


def read_header(
    format: str,
    prefix: bytes,
    *,
    name: str,
    file_bytes: int,
    limits: Limits,
    component: int | None = None,
    components: int | None = None,
    placement: str | None = None,
) -> ReadHeader:
    """The header of a file format (nifti or itk) from the first `PREFIX_BYTES[format]` of the file.

    A NIfTI of one plane in colour is a picture, by its axes.
    DICOM has no header of a volume: its instances go through `dicom.read_instance` and `series.diagnose`.

    Args:
        format: nifti or itk.
        prefix: first bytes of the file.
        name: of the array within its case.
        file_bytes: size of the whole file.
        limits: what an array may cost.
        component: which volume of a file of several; NIfTI, or NRRD with an axis of time.
        components: how many volumes the file must hold; None: whatever number.
        placement: which of a NIfTI's forms places the voxels; nothing for other formats.

    Raises:
        Rejected: as the format's reader does; UNSUPPORTED, one of several volumes of a file that is no NIfTI.
    """
    if format == "nifti" and component is None and nifti_colour.is_colour(prefix):
        return nifti_colour.header(prefix, name=name, file_bytes=file_bytes, limits=limits)
    if format == "nifti":
        return nifti.header(
            prefix,
            name=name,
            file_bytes=file_bytes,
            limits=limits,
            component=component,
            components=components,
            placement=placement,
        )
    if component is not None and itk.time_points(prefix) == 1:
        raise Rejected(Reason.UNSUPPORTED, f"expected NIfTI for one of several volumes in a file, found {format}")
    return itk.header(prefix, name=name, file_bytes=file_bytes, limits=limits, component=component)


def read_array(header: ArrayHeader, blobs: Sequence[Blob], limits: Limits) -> Volume:
    """The volume that a header described at inventory, from its objects in their recorded order.

    A SEG or RTSTRUCT gives where any of its segments is; `drawing.open_drawing` has each of them.
    A file is taken as it is: of several mask files under one header, each may have its own grid.

    Args:
        header: from `read_header` or a series' diagnosis.
        blobs: one file; a header and its detached voxels; the instances of a series in slice order; or a file of marks and
            the instances it marks.
        limits: what an array may cost.

    Raises:
        Rejected: as the format's reader does; MISSING_FILE, there is no object.
    """
    if not blobs:
        raise Rejected(Reason.MISSING_FILE, "the array has no file")
    if header.format == "dicom":
        volume = series.read([(b.path, b.content()) for b in blobs], header, limits)
    elif header.format == "nifti":
        volume = _read_nifti(header, blobs, limits)
    elif header.format == "itk":
        volume = _read_itk(header, blobs, limits)
    elif header.format in segment.FORMATS:
        volume = drawing.read_union(header, blobs[0].content(), limits)
    elif header.format == lidc.FORMAT:
        volume = _read_marks(header, blobs)
    else:
        raise ValueError(f"expected format dicom, nifti, itk, seg, rtstruct or lidc, found {header.format!r}")
    if header.spacing_override_xyz_mm is None:
        return volume
    return replace(volume, affine_ras=respaced(volume.affine_ras, header.spacing_override_xyz_mm))


def respaced(affine_ras: Affine, spacing_xyz_mm: Sequence[float]) -> Affine:
    """The affine with another spacing: directions and the first voxel stay where they are."""
    return geometry.compose(geometry.direction(affine_ras), spacing_xyz_mm, affine_ras[:3, 3])


def _read_nifti(header: ArrayHeader, blobs: Sequence[Blob], limits: Limits) -> Volume:
    data, voxels = nifti_contents(blobs)
    kept = None if voxels is not None else blobs[0].kept
    return nifti.read(
        data, limits=limits, voxels=voxels, component=header.component, placement=header.placement, kept=kept
    )


def nifti_contents(blobs: Sequence[Blob]) -> tuple[Bytes, Bytes | None]:
    """A NIfTI file, and where it is the header of a pair the file of its voxels, when that is there."""
    first = blobs[0]
    voxels = blobs[1].content() if len(blobs) > 1 else None
    if voxels is None and first.local is not None:
        found = (first.local.with_name(name) for name in nifti.data_file(first.local.name))
        voxels = next((path.read_bytes() for path in found if path.is_file()), None)
    return first.content(), voxels


def _read_marks(header: ArrayHeader, blobs: Sequence[Blob]) -> Volume:
    """One reader's mask, from the file of marks and the instances that it names."""
    marks = lidc.parse(blobs[0].content())
    number, shape = header.component or 0, header.shape
    if number >= len(marks.sessions):
        raise Rejected(Reason.SOURCE_CHANGED, f"the inventory saw reader {number + 1}, now there are fewer")
    affine = affine_of(header)
    slices = lidc.slice_numbers((_instance(b) for b in blobs[1:]), affine, shape)
    return Volume(lidc.reader_mask(marks.sessions[number], slices, (shape[0], shape[1], shape[2])), affine)


def _instance(blob: Blob) -> dicom.Instance:
    content = blob.content()
    try:
        prefix = bytes(content[: dicom.HEADER_PREFIX_BYTES])
        return dicom.read_instance(prefix, path=blob.path, file_bytes=len(content))
    except dicom.HeaderCutError:
        return dicom.read_instance(bytes(content), path=blob.path, file_bytes=len(content))


def _read_itk(header: ArrayHeader, blobs: Sequence[Blob], limits: Limits) -> Volume:
    data, beside = itk_contents(blobs)
    kept = None if beside else blobs[0].kept
    return itk.read(data, beside=beside, limits=limits, component=header.component, kept=kept)


def itk_contents(blobs: Sequence[Blob]) -> tuple[Bytes, dict[str, Bytes]]:
    """A MetaImage or NRRD file, and by their names the files beside it."""
    first, data = blobs[0], blobs[0].content()
    beside = {PurePosixPath(b.path).name: b.content() for b in blobs[1:]}
    detached = itk.data_file(bytes(data[: itk.HEADER_PREFIX_BYTES]))
    if detached is not None and detached not in beside and first.local is not None:
        sibling = first.local.with_name(detached)
        if sibling.is_file():
            beside[detached] = sibling.read_bytes()
    return data, beside
