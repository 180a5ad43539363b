"""One door for all images: pictures and films here, volumes by `read.array`, images over time by `read.over_time`."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.case import ArrayHeader
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.flat import Flat, is_flat
from transforms.read import array, dicom, dicom_flat, mask, nifti_colour, over_time, raster, video
from transforms.read.array import Blob
from transforms.read.header import OVER_TIME, ReadHeader, check_frames
from transforms.rejected import Rejected
from transforms.store import ListedObject, SourceStore
from transforms.volume import TemporalVolume, Volume


def read_header(o: ListedObject, store: SourceStore, *, name: str, limits: Limits) -> ReadHeader:
    """The header of a picture or film in a file: PNG, JPEG, TIFF, BMP, MP4 and the like, or a DICOM instance that is one.

    Raises:
        Rejected: as the format's reader does; UNSUPPORTED for a DICOM slice.
        OSError: what may pass, from the store.
    """

    def whole() -> bytes:
        return bytes(store.read(o.path, version=o.version))

    if array.format_of(o.path) == "video":
        return video.header(
            lambda start, stop: bytes(store.read(o.path, start, stop, version=o.version)),
            name=name,
            file_bytes=o.bytes,
            limits=limits,
        )
    if array.format_of(o.path) in set(raster.SUFFIXES.values()):
        prefix = bytes(store.read(o.path, 0, min(raster.HEADER_PREFIX_BYTES, o.bytes), version=o.version))
        return raster.header(prefix, whole, name=name, file_bytes=o.bytes, limits=limits)
    prefix = bytes(store.read(o.path, 0, min(dicom.HEADER_PREFIX_BYTES, o.bytes), version=o.version))
    try:
        instance = dicom.read_instance(prefix, path=o.path, file_bytes=o.bytes, alone=True)
    except dicom.HeaderCutError:
        instance = dicom.read_instance(whole(), path=o.path, file_bytes=o.bytes, alone=True)
    if not dicom_flat.is_alone(instance):
        raise Rejected(
            Reason.UNSUPPORTED,
            f"a DICOM instance of modality {instance.modality} that is no picture; series are read by the layout dicom",
        )
    check_frames(instance.number_of_frames, limits)
    read = dicom_flat.read_header(instance, name=name)
    raster.check_pixels(read.header.shape, instance.dtype.itemsize, limits)
    return read


def read_any(header: ArrayHeader, blobs: Sequence[Blob], limits: Limits) -> Volume | TemporalVolume | Flat:
    """What a header described at inventory: a volume, an image over time, or a picture or film, by its axes.

    Raises:
        Rejected: as the format's reader does; MISSING_FILE, there is no object.
    """
    if header.axes == OVER_TIME:
        return over_time.read(header, blobs, limits)
    if not is_flat(header.axes):
        return array.read_array(header, blobs, limits)
    if not blobs:
        raise Rejected(Reason.MISSING_FILE, "the array has no file")
    content = blobs[0].content()
    if header.format == "dicom":
        return dicom_flat.read(content, header, limits)
    if header.format == "video":
        return video.read(bytes(content), header, limits)
    if header.format == mask.FORMAT:
        return mask.read(bytes(content), header, limits)
    if header.format == "nifti":
        found = nifti_colour.read(content, limits, blobs[1].content() if len(blobs) > 1 else None)
    else:
        found = raster.read(bytes(content), limits)
    # Alpha may have been left out, so channels are not compared.
    if found.array.shape[:2] != header.shape[:2]:
        raise Rejected(Reason.SOURCE_CHANGED, f"the inventory saw {header.shape} pixels, now {found.array.shape}")
    return found
