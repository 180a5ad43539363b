"""What is read from several files at once, as functions of bytes: the series doctor, tables, and what they begin from.

The files are one after the other with a separator between them. A change may hit one file or several, join two, split
one, or repeat a piece of one in another.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mdfp.errors import UsageError
from schemas.reasons import Reason
from schemas.recipe import Limits
from schemas.source import Source
from tests import scanned_series as scanned
from transforms import layouts
from transforms.pseudonym import PatientKeys
from transforms.read import dicom, dicom_flat, temporal
from transforms.read import series as doctor
from transforms.read.header import check_extent
from transforms.rejected import Rejected
from transforms.store import ListedObject

SEPARATOR = b"\n-- next file --\n"
MAX_FILES = 40
"""More are not read: a repeated separator would only take time."""

Read = Callable[[bytes], None]
Seeds = Callable[[], list[bytes]]


def readers(limits: Limits) -> dict[str, tuple[Read, Seeds, tuple[bytes, ...]]]:
    """Reader, seeds and words of each target."""
    states = (b"1", b"-1", b"nan", b"1e400", b"", b'"', b",", b";", b"\t", b"\r\n", b"\n", b"\0", b"\xff", b"../", b"|")
    braces = (b"{", b"}", b"[", b"]", b"null", b"1e999", b"[" * 5000, b'"\\ud800"', b"../", b"\0", b"9" * 5000)
    return {
        "series": (partial(_series, limits=limits), _series_seeds, (SEPARATOR, b"1.2.3.4", b"\\", b"SQ\0\0\xff\xff\xff\xff")),
        "flatdicom": (partial(_pictures, limits=limits), _picture_seeds, (b"PALETTE COLOR", b"YBR_FULL_422", b"RGB ", b"\\", b"\0\0")),
        "csv": (partial(_table, name="t.csv"), _csv_seeds, states),
        "parquet": (partial(_table, name="t.parquet"), _parquet_seeds, (b"PAR1", b"\0", b"\xff\xff\xff\x7f", b"\x15\x02")),
        "json": (_described, _json_seeds, braces),
    }  # fmt: skip


def _instances(files: Sequence[tuple[str, bytes]]) -> list[dicom.Instance]:
    """Headers of the files that have one, as the inventory reads them."""
    found = []
    for path, data in files:
        try:
            try:
                found.append(dicom.read_instance(data[: dicom.HEADER_PREFIX_BYTES], path=path, file_bytes=len(data)))
            except dicom.HeaderCutError:
                found.append(dicom.read_instance(data, path=path, file_bytes=len(data)))
        except Rejected:
            continue
    return found


def _series(data: bytes, *, limits: Limits) -> None:
    """Diagnosis and voxels of each volume; and of what is a series over time, all its moments."""
    files = [(f"{n:02}", part) for n, part in enumerate(data.split(SEPARATOR)[:MAX_FILES])]
    instances = _instances(files)
    if not instances:
        raise Rejected(Reason.UNREADABLE, "no header can be read")
    contents, read, verdicts = dict(files), 0, []
    diagnosis = doctor.diagnose(instances)
    placed = {p for found in (*diagnosis.volumes, *diagnosis.rejects) for p in found.paths}
    if placed != {i.path for i in instances}:
        raise RuntimeError(f"the doctor lost or invented objects: {sorted(placed ^ {i.path for i in instances})}")
    for volume in diagnosis.volumes:
        try:
            check_extent(volume.header.shape, np.dtype(volume.header.dtype).itemsize, limits)
            doctor.read([(p, contents[p]) for p in volume.paths], volume.header, limits)
            read += 1
        except Rejected as verdict:
            verdicts.append(verdict)
    for reject in diagnosis.rejects:
        verdicts.append(Rejected(reject.reason, reject.detail))
        if reject.reason is Reason.TEMPORAL:
            try:
                temporal.read_temporal([(p, contents[p]) for p in reject.paths], limits)
            except Rejected as verdict:
                verdicts.append(verdict)
    if not read:
        raise verdicts[0]


def _pictures(data: bytes, *, limits: Limits) -> None:
    """A DICOM picture or film."""
    (instance,) = _instances([("x", data)]) or (None,)
    if instance is None:
        raise Rejected(Reason.UNREADABLE, "no header can be read")
    read = dicom_flat.read_header(instance, name="x")
    if int(np.prod(read.header.shape, dtype=object)) > limits.max_voxels:
        raise Rejected(Reason.TOO_LARGE, "more than the limits allow")
    dicom_flat.read(data, read.header, limits)


KEYS = PatientKeys(b"a secret of fuzzing, 32 bytes long")


def _source(layout: dict[str, object], **more: object) -> Source:
    content = {"id": "toy", "title": "Toy", "public_ids": True, "layout": layout, **more}
    return Source.model_validate(content)


@cache
def _table_source(name: str) -> Source:
    layout = {
        "kind": "table", "path": name, "case": "{study}",
        "images": [{"name": "xray", "modality": "DX", "file": "{f}.png"}],
        "classes": [{"column": "view", "name": "view", "values": {"AP": "AP", "0": "PA"}}],
        "findings": [
            {"columns": ["Edema"], "values": {"1": "present", "0": "absent", "-1": "uncertain", "": "unknown"}},
            {"column": "L", "separator": "|", "names": {"Mass": "mass", "Nodule": "nodule"}, "nothing": ["none"]},
        ],
        "boxes": [{"corner": ["x", "y"], "size": ["w", "h"], "name": "nodule"}],
        "points": [{"name": "fovea", "at": ["x", "y"], "unit": "fraction"}],
        "measurements": [{"column": "ef", "name": "ejection_fraction", "unit": "%"}],
        "texts": [{"name": "report", "file": "{f}.txt", "optional": True}, {"name": "impression", "column": "text", "optional": True}],
        "split": {"column": "split"}, "sex": "sex", "age": "age",
    }  # fmt: skip
    return _source(layout, patient={"namespace": "toy", "id": "{patient}"})


def _grouped(source: Source, listing: Sequence[ListedObject], contents: dict[str, bytes]) -> None:
    """Group a listing by what side files say; what stops a source as a whole counts as a reject here.

    Raises:
        Rejected: the manifest does not fit the side files, or every case has a fault.
        RuntimeError: an object was lost.
    """

    def read(path: str) -> bytes:
        if path not in contents:
            raise Rejected(Reason.MISSING_FILE, "not there")
        return contents[path]

    try:
        found = layouts.group(source, listing, read, KEYS)
    except UsageError as error:
        raise Rejected(Reason.UNREADABLE, str(error)) from error
    if not found.counts.balanced():
        raise RuntimeError(f"objects were lost: {found.counts}")
    for case in found.cases:
        for text in case.told.texts if case.told else ():
            (text.value or "").encode()
    faults = [f for c in found.cases for f in c.faults]
    if faults and all(c.faults for c in found.cases):
        raise Rejected(faults[0].reason, faults[0].detail)


def _table(data: bytes, *, name: str) -> None:
    paths = [*(f"{n}.png" for n in "abcde"), "a.txt", name]
    _grouped(_table_source(name), [ListedObject(p, 10, "v1") for p in paths], {name: data})


@cache
def _described_sources() -> tuple[tuple[Source, tuple[str, ...]], ...]:
    tables = {"labels": {"labels": {"origin": "expert", "values": {0: "background", 1: "liver"}}}}
    channels = [{"name": "ct", "modality": "CT"}]
    ends = ("imagesTr/s_1_0000.nii.gz", "imagesTr/s_1.nii.gz", "labelsTr/s_1.nii.gz", "imagesTs/s_2.nii.gz")
    return tuple(
        (_source({"kind": kind, "channels": channels}, patient={"namespace": "toy"}, **tables), ends)
        for kind in ("msd", "nnunet")
    )


def _described(data: bytes) -> None:
    """dataset.json of the Decathlon and of nnU-Net."""
    refused = []
    for source, paths in _described_sources():
        try:
            listing = [ListedObject(p, 10, "v1") for p in ("dataset.json", *paths)]
            _grouped(source, listing, {"dataset.json": data})
        except Rejected as verdict:
            refused.append(verdict)
    if len(refused) == len(_described_sources()):
        raise refused[0]


def _series_seeds() -> list[bytes]:
    stored = scanned.voxels((5, 6, 8))
    plain = scanned.slices(stored)
    moments = [
        ds for t in range(2) for ds in scanned.slices(
            stored[:3], modality="MR", series="1.2.3.4",
            per_slice=lambda z, t=t: {"AcquisitionNumber": t + 1, "SOPInstanceUID": f"1.2.3.4.{t}.{z}"},
        )
    ]  # fmt: skip
    leaning = scanned.slices(stored, per_slice=lambda z: {"ImagePositionPatient": [-10, 5 + 0.5 * z, 2.5 * z]})
    uneven = scanned.slices(stored, per_slice=lambda z: {"ImagePositionPatient": [-10, 5, 2.5 * z + 0.2 * (z == 3)]})
    echoes = scanned.slices(stored, modality="MR", per_slice=lambda z: {"EchoTime": z % 2, "InversionTime": 100})
    pet = scanned.slices(stored, modality="PT", rescale=lambda z: (0.5 + z, 0))
    frames = [scanned.enhanced(stored, modality=m, order=(3, 0, 4, 1, 2)) for m in ("CT", "MR", "PT")]
    mosaics = [scanned.mosaic(stored, version=v, moment=v) for v in (1, 2)]
    groups = [
        plain,
        plain[::-1] + plain[:2],
        moments,
        leaning,
        uneven,
        echoes,
        pet,
        frames,
        frames[1:2],
        mosaics,
        mosaics[:1],
    ]
    return [SEPARATOR.join(scanned.written(ds) for ds in group) for group in groups]


def _picture_seeds() -> list[bytes]:
    from pydicom import uid

    grey = scanned.voxels((3, 8, 10))
    (radiograph,) = scanned.slices(
        grey[:1], per_slice=lambda z: {"Modality": "DX", "PhotometricInterpretation": "MONOCHROME1"}
    )
    radiograph.WindowCenter, radiograph.WindowWidth, radiograph.VOILUTFunction = [100, 50], [300, 20], "SIGMOID"
    (signed,) = scanned.slices(scanned.voxels((1, 8, 10), signed=True), per_slice=lambda z: {"Modality": "XA"})
    (film,) = scanned.slices(grey[:1].astype(np.uint8), per_slice=lambda z: {"Modality": "US"})
    film.NumberOfFrames, film.FrameTime, film.PixelData = 3, 40, grey.astype(np.uint8).tobytes()
    colours = []
    for kind in ("RGB", "YBR_FULL"):
        (ds,) = scanned.slices(grey[:1].astype(np.uint8), per_slice=lambda z: {"Modality": "US"})
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, kind, int(kind == "RGB")
        ds.PixelData = grey.astype(np.uint8).tobytes()
        colours.append(ds)
    (palette,) = scanned.slices(grey[:1].astype(np.uint8), per_slice=lambda z: {"Modality": "US"})
    palette.PhotometricInterpretation = "PALETTE COLOR"
    for n, colour in enumerate(("Red", "Green", "Blue")):
        setattr(palette, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        table = (np.arange(256) * (60 + 60 * n)).astype("<u2").tobytes()
        setattr(palette, f"{colour}PaletteColorLookupTableData", table)
    made = [scanned.written(ds) for ds in (radiograph, signed, film, *colours, palette)]
    return [*made, scanned.written(film, uid.RLELossless)]


_ROWS = (
    ("study", "f", "patient", "view", "Edema", "L", "x", "y", "w", "h", "ef", "text", "split", "sex", "age"),
    ("1", "a", "p1", "AP", "1", "Mass|Nodule", "10", "20", "5", "7", "55.5", "No focal lesion, see above.", "train", "F", "058Y"),
    ("2", "b", "p2", "0", "-1", "none", "", "", "", "", "", "Größe: 3 mm\nunchanged", "val", "M", "91"),
    ("2", "c", "p2", "0", "0.0", "Mass", "0.5", "1", "2", "2.5", "60", "", "", "", ""),
)  # fmt: skip


def _csv_seeds() -> list[bytes]:
    import csv

    result = []
    for delimiter, encoding in ((",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-8")):
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=delimiter).writerows(_ROWS)
        result.append(buffer.getvalue().encode(encoding))
    return result


def _parquet_seeds() -> list[bytes]:
    columns = dict(zip(_ROWS[0], zip(*_ROWS[1:], strict=True), strict=True))
    result = []
    for options in (
        {"compression": "none"},
        {"compression": "snappy", "use_dictionary": False},
        {"compression": "zstd"},
    ):
        buffer = io.BytesIO()
        pq.write_table(pa.table({k: list(v) for k, v in columns.items()}), buffer, **options)
        result.append(buffer.getvalue())
    numbers = {**{k: list(v) for k, v in columns.items()}, "Edema": [1, -1, 0], "age": [58.0, None, 91.0]}
    buffer = io.BytesIO()
    pq.write_table(pa.table(numbers), buffer)
    return [*result, buffer.getvalue()]


def _json_seeds() -> list[bytes]:
    decathlon = {
        "modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}, "numTraining": 1,
        "training": [{"image": "./imagesTr/s_1.nii.gz", "label": "./labelsTr/s_1.nii.gz"}], "test": ["./imagesTs/s_2.nii.gz"],
    }  # fmt: skip
    own = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1},
        "file_ending": ".nii.gz",
        "numTraining": 1,
    }
    listed = {**own, "dataset": {"s_1": {"images": ["imagesTr/s_1_0000.nii.gz"], "label": "labelsTr/s_1.nii.gz"}}}
    return [json.dumps(d, indent=1).encode() for d in (decathlon, own, listed)] + [
        b"\xef\xbb\xbf" + json.dumps(own).encode()
    ]
