"""Nothing of a header reaches a corpus, a report or a log unless a field of the schemas names it.

Markers stand in every text element of DICOM files (the standard's whole dictionary, private ones, items of sequences,
file meta information) and in the free text of NIfTI, MetaImage and NRRD. After a run every byte is searched: shards and
their members decoded, index, plans, inventories, rejects, reports, telemetry, and what was printed and logged.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest

from mdfp.codecs import VolumeCodec
from tests.hostile import private
from tests.hostile.files import SHAPE_XYZ, metaimage, nifti, nrrd, voxels

MARKER = re.compile(rb"Qx[0-9A-Z]+Z|9\.\d{5,10}\.77|18790314|1879-03-14")
_PICTURE = re.compile(rb"(?<=base64,)[A-Za-z0-9+/=]+")
CHECKOUT = Path(__file__).parents[2]


def marked_nifti(seed: int) -> bytes:
    data = bytearray(nifti(voxels(seed), vox_offset=352 + 64))
    voxel_bytes = np.prod(SHAPE_XYZ) * 2
    data[4:14], data[14:32] = b"QxDATATYPZ", b"QxDBNAMEXXXXXXXXXZ"
    data[148 : 148 + 20], data[228 : 228 + 20], data[328:344] = (
        b"QxDESCRIPXXXXXXXXXXZ",
        b"QxAUXFILEXXXXXXXXXXZ",
        b"QxINTENTNAMEXXXZ",
    )
    extension = (64).to_bytes(4, "little") + (6).to_bytes(4, "little") + b"QxEXTENSIONZ".ljust(56)
    head, body = bytes(data[:348]), bytes(data[-voxel_bytes:])
    return head + b"\1\0\0\0" + extension + body


SERIES = {
    "good": {},
    "cut": {"cut": 50},
    "nowhere": {"ImagePositionPatient": None},
    "nospacing": {"PixelSpacing": b"QxPIXELSPACINGZ"},
    "colour": {"PhotometricInterpretation": b"QxPHOTOMETRICZ"},
    "other": {"Modality": b"QxMODALITYZ"},
    "slope": {"RescaleSlope": b"QxSLOPEZ"},
    "syntax": {"syntax": "9.1234567.77"},
    "class": {"SOPClassUID": b"9.7654321.77"},
    "sex": {"PatientSex": b"QxSEXZ"},
    "mixed": {"AcquisitionNumber": b"1"},
}

FILES = {
    "nifti/image.nii": marked_nifti(1),
    "mha/image.mha": metaimage(voxels(2), Comment="QxCOMMENTZ", Name="QxNAMEZ"),
    "nrrd/image.nrrd": nrrd(voxels(3)).replace(b"NRRD0004\n", b"NRRD0004\n# QxHASHZ\ncontent: QxCONTENTZ\nname:=QxPAIRZ\n"),
    "mha-type/image.mha": metaimage(ElementType="QxTYPEZ"),
    "mha-size/image.mha": metaimage(DimSize="12 10 QxSIZEZ"),
    "mha-dims/image.mha": metaimage(NDims="QxDIMSZ"),
    "mha-spacing/image.mha": metaimage(ElementSpacing="1 1 QxSPACINGZ"),
    "mha-channels/image.mha": metaimage(ElementNumberOfChannels="QxCHANNELSZ"),
    "mhd-file/image.mhd": metaimage(ElementDataFile="QxFILEZ.raw"),
    "nrrd-type/image.nrrd": nrrd(type="QxTYPEZ"),
    "nrrd-dims/image.nrrd": nrrd(dimension="QxDIMENSIONZ"),
    "nrrd-encoding/image.nrrd": nrrd(encoding="QxENCODINGZ"),
    "nrrd-endian/image.nrrd": nrrd(endian="QxENDIANZ"),
    "nrrd-space/image.nrrd": nrrd(space="QxSPACEZ"),
    "nrrd-units/image.nrrd": nrrd(space_units='"QxUNITSZ" "QxUNITSZ" "QxUNITSZ"'),
    "nrrd-kinds/image.nrrd": nrrd(
        dimension="4", sizes="2 12 10 8", kinds="QxKINDZ domain domain domain",
        space_directions="none (1,0,0) (0,1,0) (0,0,1)",
    ),
}  # fmt: skip


def manifest(name: str, layout: dict) -> dict:
    return {
        "id": name, "title": name, "terms": {"license": "own-data"}, "patient": {"namespace": name}, "layout": layout,
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(corpus, everything that was printed) of a run with all that people see switched on."""
    folder = tmp_path_factory.mktemp("private")
    for name, changes in SERIES.items():
        (folder / "series" / name).mkdir(parents=True)
        for k in range(5):
            unique = {"SeriesInstanceUID": f"9.1111111.77.{len(name)}.{sum(name.encode())}".encode(), **changes}
            (folder / "series" / name / f"{k}").write_bytes(private.dicom(k, **unique))
    for path, data in FILES.items():
        (folder / "files" / path).parent.mkdir(parents=True)
        (folder / "files" / path).write_bytes(data)
    image = {"name": "ct", "modality": "CT", "path": r"{case}/image{kind:\..+}"}
    layouts = {"series": {"kind": "dicom", "path": "**"}, "files": {"kind": "paired", "images": [image]}}
    for name, layout in layouts.items():
        (folder / f"{name}.yaml").write_text(json.dumps(manifest(name, layout)))
    recipe = {
        "corpus": "private", "out": "corpus", "terms": {"accept": ["own-data"]}, "labels": "image_only",
        "sources": [{"id": n, "root": n, "manifest": f"{n}.yaml"} for n in layouts],
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    command = [sys.executable, "-m", "pipelines", "run", str(folder / "recipe.yaml"), "--max-holes", "1"]
    env = dict(os.environ) | {
        "MDFP_PATIENT_KEY": "a key of sixteen bytes", "MDFP_LOG": "INFO", "MDFP_LOG_FORMAT": "json", "PYTHONPATH": str(CHECKOUT),
    }  # fmt: skip
    ended = subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()[-3000:]
    return folder / "corpus", ended.stdout + ended.stderr


def searched(corpus: Path):
    """(where, bytes) of everything in a corpus, as it lies there and decoded."""
    for file in sorted(p for p in corpus.rglob("*") if p.is_file()):
        data = file.read_bytes()
        where = file.relative_to(corpus).as_posix()
        pictures = _PICTURE.findall(data)  # base64 may by chance spell anything; what it stands for is searched
        yield where, where.encode() + _PICTURE.sub(b"", data)
        for picture in pictures:
            yield f"{where} (a picture)", base64.b64decode(picture)
        if file.suffix == ".parquet":
            table = pq.read_table(io.BytesIO(data))
            yield f"{where} (rows)", repr([table.schema.metadata, table.to_pylist()]).encode()
        elif file.suffix == ".tar":
            with tarfile.open(file) as tar:
                for member in tar:
                    stream = tar.extractfile(member)
                    assert stream is not None
                    content = stream.read()
                    yield f"{where}/{member.name}", repr(member.get_info()).encode() + content
                    if member.name.endswith(".b2nd"):
                        yield f"{where}/{member.name} (decoded)", VolumeCodec().decode(content).tobytes()


def test_the_files_hold_what_is_looked_for():
    """A file that is not read, or not marked, would prove nothing."""
    data = private.dicom(0)
    ds = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    assert ds.Modality == "CT"
    texts = [t for _, _, _, t in private.planted()]
    assert len(texts) > 2500
    assert all(
        t.encode() in data
        for t in texts
        if t not in (private.marker(0x00080018, "UI"), private.marker(0x00080020, "DA"))
    )
    assert len(set(MARKER.findall(data))) > 2500


def test_there_is_a_corpus_and_a_report(run):
    corpus, _ = run
    rows = pq.read_table(corpus / "index").to_pylist()
    assert {r["source"] for r in rows} == {"series", "files"}
    assert len(rows) >= 4
    assert (corpus / "report.html").exists()
    assert list((corpus / "telemetry").rglob("*"))


def test_no_marker_comes_out_but_those_that_a_field_names(run):
    corpus, printed = run
    allowed = {
        private.marker(tag, vr).encode() for tag, vr, keyword, _ in private.planted() if keyword in private.ALLOWED
    }
    assert len(allowed) == len(private.ALLOWED)
    leaks = {}
    for where, data in [("printed", printed), *searched(corpus)]:
        if found := set(MARKER.findall(data)) - allowed:
            leaks[where] = sorted(found)
    assert leaks == {}


def test_the_allowed_ones_are_where_their_fields_are(run):
    """The search would find them: a proof that it looks in the right places."""
    corpus, _ = run
    index = repr(pq.read_table(corpus / "index").to_pylist()).encode()
    for tag, vr, keyword, _ in private.planted():
        if keyword in private.ALLOWED:
            assert private.marker(tag, vr).encode() in index
    shards = b"".join(p.read_bytes() for p in (corpus / "shards").rglob("*.tar"))
    assert private.marker(0x00080070, "LO").encode() in shards
