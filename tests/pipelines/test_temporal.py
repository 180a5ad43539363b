"""Images over time through the real pipelines: refused, kept as one image, or split; built, published and read back."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow as pa
import pydicom
import pytest
import yaml
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

import mdfp
from mdfp.crops import Crops
from mdfp.errors import UsageError
from mdfp.export import export_nifti
from mdfp.labels import State
from mdfp.verify import verify
from pipelines import run as whole_run
from pipelines.build import BuildOptions
from pipelines.console import Console
from pipelines.gate import GateError
from pipelines.inventory import read_inventory, take_inventory
from pipelines.plan import peak_bytes
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas.reasons import Reason
from transforms import shared_files
from transforms.plan.planner import Selection
from transforms.read import inflate

TIMES, SHAPE_XYZ = 5, (16, 13, 11)
AFFINE = np.array([[-2.0, 0, 0, 15], [0, 2.0, 0, -9], [0, 0, 3.0, 4], [0, 0, 0, 1]])
MOMENTS, SLICES = 4, 3
SECONDS = (0, 2, 5, 11)  # of the moments
QUIET = Console(quiet=True, as_json=True)
CHECKOUT = Path(__file__).parents[2]

NIFTI_SOURCE = {
    "id": "over-nifti",
    "title": "Generated images over time",
    "public_ids": True,
    "terms": {"license": "CC0-1.0"},
    "patient": {"namespace": "over", "id": "{case}"},
    "layout": {
        "kind": "paired",
        "images": [
            {"name": "mr", "modality": "MR", "path": "{case}.nii.gz"},
            {"name": "t1", "modality": "MR", "path": "{case}_t1.nii.gz", "optional": True},
        ],
        "labels": [{"table": "organs", "image": "mr", "path": "{case}_seg.nii.gz"}],
    },
    "labels": {"organs": {"origin": "expert", "values": {0: "background", 1: "liver"}}},
}
DICOM_SOURCE = {
    "id": "over-dicom",
    "title": "Generated series over time",
    "public_ids": True,
    "terms": {"license": "CC0-1.0"},
    "patient": {"namespace": "over-d"},
    "layout": {"kind": "dicom", "path": "{case}/*.dcm"},
}


def voxels(case: str, times: int) -> np.ndarray:
    """(x, y, z, t) int16, another range at each time."""
    rng = np.random.default_rng(zlib.crc32(case.encode()))
    image = rng.integers(0, 300, (*SHAPE_XYZ, times)) + 100 * np.arange(times)
    return image.astype(np.int16)


def slice_pixels(t: int, z: int) -> np.ndarray:
    return (1000 * t + 100 * z + np.arange(48)).reshape(8, 6).astype(np.int16)


def write_slice(path: Path, t: int, z: int) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = f"1.2.{t}.{z + 1}"
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "P1", "9.1", "9.2", "9.3"
    ds.Modality, ds.InstanceNumber, ds.TemporalPositionIdentifier = "MR", t * SLICES + z + 1, t + 1
    ds.AcquisitionTime = f"1200{SECONDS[t]:02}"
    ds.ImageType, ds.ImagePositionPatient = ["ORIGINAL", "PRIMARY"], [1, 2, 4.0 * z]
    ds.ImageOrientationPatient, ds.PixelSpacing, ds.SliceThickness = [1, 0, 0, 0, 1, 0], [1.5, 1.25], 4
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 8, 6, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.PixelData = slice_pixels(t, z).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, ds)


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("over-time")
    (root / "nifti").mkdir()
    nib.save(nib.Nifti1Image(voxels("t1", 1)[..., 0], AFFINE), root / "nifti" / "pair_t1.nii.gz")
    for case, times in (("bold", TIMES), ("still", 1), ("pair", TIMES)):
        data = voxels(case, times)
        image = nib.Nifti1Image(data if times > 1 else data[..., 0], AFFINE)
        image.header.set_xyzt_units("mm", "sec")
        if times > 1:
            image.header.set_zooms((2.0, 2.0, 3.0, 1.5))
        nib.save(image, root / "nifti" / f"{case}.nii.gz")
        label = np.zeros(SHAPE_XYZ, np.uint8)
        label[4:9, 3:8, 2:6] = 1
        nib.save(nib.Nifti1Image(label, AFFINE), root / "nifti" / f"{case}_seg.nii.gz")
    for t in range(MOMENTS):
        for z in range(SLICES):
            write_slice(root / "dicom" / "scan" / f"{t}{z}.dcm", t, z)
    for source in (NIFTI_SOURCE, DICOM_SOURCE):
        (root / f"{source['id']}.yaml").write_text(yaml.safe_dump(source))
    return root


def workspace_of(raw: Path, out: Path, name: str, **more):
    recipe = {
        "corpus": "over-time",
        "out": str(out),
        "sources": [
            {"id": "over-nifti", "root": str(raw / "nifti"), "manifest": "over-nifti.yaml"},
            {"id": "over-dicom", "root": str(raw / "dicom"), "manifest": "over-dicom.yaml"},
        ],
        "terms": {"accept": ["CC0-1.0"]},
        "splits": {"train": 1.0, "val": 0.0},
        **more,
    }
    path = raw / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return open_workspace(path, [], str(out))


def build(raw: Path, out: Path, name: str, **more) -> mdfp.Corpus:
    workspace = workspace_of(raw, out, name, **more)
    whole_run.run(workspace, Selection(), Engine(1), BuildOptions(max_holes=0.9), QUIET)
    return mdfp.open(str(out))


@pytest.fixture(scope="module")
def kept(raw, tmp_path_factory) -> mdfp.Corpus:
    return build(raw, tmp_path_factory.mktemp("kept"), "keep", temporal="keep")


@pytest.fixture(scope="module")
def split(raw, tmp_path_factory) -> mdfp.Corpus:
    return build(raw, tmp_path_factory.mktemp("split"), "split", temporal="split")


def canonical(case: str, times: int) -> np.ndarray:
    """(t, z, y, x) with axes along R, A, S, by nibabel."""
    turned = nib.as_closest_canonical(nib.Nifti1Image(voxels(case, times), AFFINE))
    return np.asarray(turned.dataobj).T


def test_by_default_they_are_refused_and_the_rest_is_taken(raw, tmp_path):
    workspace = workspace_of(raw, tmp_path, "refuse")
    with pytest.raises(GateError, match="source-has-cases"):  # of a source that has nothing else
        take_inventory(workspace, Engine(1), QUIET)
    found = read_inventory(workspace)
    assert found is not None
    assert found.deciding["case_id"].to_pylist() == ["over-nifti-still"]
    assert {r.reason for r in found.rejects} == {Reason.TEMPORAL}
    assert {r.source for r in found.rejects} == {"over-nifti", "over-dicom"}
    assert all("`temporal: keep` or `split`" in r.detail for r in found.rejects)


def test_a_source_may_differ_from_the_recipe(raw, tmp_path):
    sources = [
        {"id": "over-nifti", "root": str(raw / "nifti"), "manifest": "over-nifti.yaml"},
        {"id": "over-dicom", "root": str(raw / "dicom"), "manifest": "over-dicom.yaml", "temporal": "keep"},
    ]
    workspace = workspace_of(raw, tmp_path, "differ", sources=sources)
    take_inventory(workspace, Engine(1), QUIET)
    found = read_inventory(workspace)
    assert set(found.deciding["case_id"].to_pylist()) == {"over-nifti-still", "over-dicom-scan"}
    assert [r.source for r in found.rejects] == ["over-nifti"] * 2


def test_kept_images_have_their_voxels_and_their_place(kept):
    assert verify(kept) == []
    assert {s.key for s in kept.samples} == {f"over-nifti-{n}" for n in ("bold", "still", "pair")} | {"over-dicom-scan"}
    sample = kept.sample("over-nifti-bold")
    record = sample.record.image()
    assert (record.axes, record.stored.shape) == ("tzyx", (TIMES, 11, 13, 16))
    assert record.stored.spacing_xyz_mm == (2.0, 2.0, 3.0)
    np.testing.assert_array_equal(sample.image(values="stored"), canonical("bold", TIMES))
    (told,) = sample.annotations(name="frame_time")
    assert told.value == "1500 ms"
    dicom = kept.sample("over-dicom-scan")
    expected = np.array([[slice_pixels(t, z)[::-1, ::-1] for z in range(SLICES)] for t in range(MOMENTS)])
    np.testing.assert_array_equal(dicom.image(values="stored"), expected)
    assert [f.code for f in dicom.record.findings] == ["temporal", "irregular_times"]
    assert dicom.record.image().times_ms == tuple(1000.0 * s for s in SECONDS)
    assert dicom.annotations(name="frame_time") == ()
    assert record.times_ms is None
    assert kept.sample("over-nifti-still").record.image().axes == "zyx"


def test_a_frame_is_one_time_point_and_a_box_is_at_every_time(kept):
    sample, truth = kept.sample("over-nifti-bold"), canonical("bold", TIMES)
    np.testing.assert_array_equal(sample.image(frame=3, values="stored"), truth[3])
    box = (1, 2, 3, 5, 9, 11)
    np.testing.assert_array_equal(sample.image(box=box, values="stored"), truth[:, 1:5, 2:9, 3:11])
    np.testing.assert_array_equal(sample.image(box=box, frame=2, values="stored"), truth[2, 1:5, 2:9, 3:11])
    part = sample.image(box=(1, *box[:3], 3, *box[3:]), values="stored")
    np.testing.assert_array_equal(part, truth[1:3, 1:5, 2:9, 3:11])
    given = np.empty(truth.shape[1:], np.float32)
    assert np.shares_memory(sample.image(frame=1, out=given), given)
    np.testing.assert_array_equal(given, truth[1])
    np.testing.assert_allclose(sample.affine(box=(1, *box[:3], 3, *box[3:])), sample.affine(box=box))
    with pytest.raises(UsageError, match=r"frames 0\.\.4, asked for 5"):
        sample.image(frame=5)
    with pytest.raises(UsageError, match="has zyx"):
        kept.sample("over-nifti-still").image(frame=0)


def test_a_time_point_decodes_without_the_others(kept):
    array = kept.sample("over-nifti-bold").array()
    assert array.chunks[0] == array.blocks[0] == 1


def test_a_mask_is_of_every_time_point(kept):
    bold, still = kept.sample("over-nifti-bold"), kept.sample("over-nifti-still")
    np.testing.assert_array_equal(bold.label(), still.label())
    np.testing.assert_array_equal(bold.classes(["liver"]), still.classes(["liver"]))
    box = (1, 2, 3, 9, 9, 11)
    np.testing.assert_array_equal(bold.classes(["liver"], box=(0, *box[:3], 1, *box[3:])), bold.label(box=box))
    assert bold.masks(["liver"]).shape == (1, 11, 13, 16)
    np.testing.assert_array_equal(bold.multi_hot(["liver"]), still.multi_hot(["liver"]))
    np.testing.assert_array_equal(
        bold.multi_hot(["liver"], box=(0, *box[:3], 1, *box[3:])), still.multi_hot(["liver"], box=box)
    )
    np.testing.assert_array_equal(bold.marginal(["liver"]).target, still.marginal(["liver"]).target)
    (mine, theirs) = (next(s for s in x.record.structures if s.structure == "liver") for x in (bold, still))
    assert mine == theirs
    assert mine.state is State.PRESENT


def test_crops_take_one_time_point_or_several(kept):
    sample, truth = kept.sample("over-nifti-bold"), canonical("bold", TIMES)
    one = Crops((6, 7, 8), per_visit=4, space=["liver"], values="stored").cut(sample, seed=3, epoch=0)
    for crop in one:
        (first, last), (z, y, x, *_) = crop.frames, crop.box
        assert last == first + 1
        np.testing.assert_array_equal(crop.image[0], truth[first, z : z + 6, y : y + 7, x : x + 8])
        assert crop.classes.shape == (6, 7, 8)
    assert len({c.frames for c in one}) > 1
    (three,) = Crops((6, 7, 8), labels=False, values="stored", frames=3).cut(sample, seed=3, epoch=0)
    (first, last), (z, y, x, *_) = three.frames, three.box
    assert last == first + 3
    np.testing.assert_array_equal(three.image[0], truth[first:last, z : z + 6, y : y + 7, x : x + 8])
    (padded,) = Crops((20, 7, 20), labels=False, values="stored", frames="all", fill=-1).cut(sample, seed=3, epoch=0)
    assert padded.image.shape == (1, TIMES, 20, 7, 20)
    z, y, x = padded.box[:3]
    np.testing.assert_array_equal(padded.image[0, :, -z : -z + 11, :, -x : -x + 16], truth[:, :, y : y + 7])
    assert set(np.unique(padded.image[0, :, :-z])) == {-1}


def test_places_do_not_depend_on_what_is_taken_of_time(kept):
    sample = kept.sample("over-nifti-bold")
    boxes = [
        [c.box for c in Crops(6, per_visit=3, labels=False, frames=f).cut(sample, seed=1, epoch=2)]
        for f in (1, 2, "all")
    ]
    assert boxes[0] == boxes[1] == boxes[2]


def test_a_volume_beside_an_image_over_time_is_taken_with_each_time_point(kept):
    sample, truth = kept.sample("over-nifti-pair"), canonical("pair", TIMES)
    crops = Crops((6, 7, 8), images=("mr", "t1"), space=["liver"], values="stored", per_visit=3)
    for crop in crops.cut(sample, seed=5, epoch=1):
        (first, _), (z, y, x, *_) = crop.frames, crop.box
        np.testing.assert_array_equal(crop.image[0], truth[first, z : z + 6, y : y + 7, x : x + 8])
        np.testing.assert_array_equal(crop.image[1], canonical("t1", 1)[0, z : z + 6, y : y + 7, x : x + 8])
    with pytest.raises(UsageError, match="needs images over time"):
        Crops(6, images=("mr", "t1"), frames=2, labels=False).cut(sample, seed=5, epoch=1)


def test_volumes_and_images_over_time_make_one_batch(kept):
    crops = Crops(4, labels=False, images=("mr",))
    (batch,) = kept.loader(kept.samples.where(source="over-nifti"), seed=1, batch=3, crops=crops)
    assert batch["image"].shape == (3, 1, 4, 4, 4)
    assert "frames" not in batch
    with pytest.raises(UsageError, match="needs images over time"):
        Crops(4, labels=False, frames=2).cut(kept.sample("over-nifti-still"), seed=0, epoch=0)
    with pytest.raises(UsageError, match="frames is 9, mr has 5 time points"):
        Crops(4, labels=False, frames=9).cut(kept.sample("over-nifti-bold"), seed=0, epoch=0)
    with pytest.raises(UsageError, match="positive number or 'all'"):
        Crops(4, frames=0)


def test_export_is_what_nibabel_reads(kept, tmp_path):
    for key in ("over-nifti-bold", "over-dicom-scan"):
        sample = kept.sample(key)
        image = nib.load(next(p for p in export_nifti(sample, tmp_path) if ".image." in p.name))
        np.testing.assert_array_equal(np.asarray(image.dataobj), sample.image().T)
        np.testing.assert_allclose(image.affine, sample.affine(), atol=1e-5)
    bold = nib.load(tmp_path / "over-nifti-bold.image.mr.nii.gz")
    assert bold.header.get_xyzt_units() == ("mm", "msec")
    assert bold.header.get_zooms() == (2.0, 2.0, 3.0, 1500.0)
    assert nib.load(tmp_path / "over-nifti-bold.label.base.nii.gz").shape == SHAPE_XYZ


def test_a_picture_says_which_time_point_it_is(kept, tmp_path):
    command = [sys.executable, "-m", "mdfp", "show", kept.store.where(""), "over-nifti-bold", "-o", "bold.png"]
    ended = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(CHECKOUT)}, capture_output=True, text=True, check=True
    )
    assert "16×13×11 voxels" in ended.stdout
    assert "at 5 time points, time point 3 of 5 drawn" in " ".join(ended.stdout.split())
    assert (tmp_path / "bold.png").read_bytes()[:4] == b"\x89PNG"


def test_split_time_points_are_cases_of_one_patient(split, kept):
    assert verify(split) == []
    found = Counter(s.key.rpartition("-t")[0] for s in split.samples if s.source == "over-nifti")
    assert found == {"over-nifti-bold": TIMES, "over-nifti-pair": TIMES, "": 2}
    assert [i.name for i in split.sample("over-nifti-pair-t001").record.images] == ["mr"]
    assert [i.name for i in split.sample("over-nifti-pair").record.images] == ["t1"]
    assert {s.key for s in split.samples if s.source == "over-dicom"} == {
        f"over-dicom-scan-t{t:03d}" for t in range(MOMENTS)
    }
    patients = {s.patient for s in split.samples if s.key.startswith("over-nifti-bold")}
    assert patients == {kept.sample("over-nifti-bold").record.patient}
    assert {s.patient for s in split.samples if s.source == "over-dicom"} == {
        kept.sample("over-dicom-scan").record.patient
    }
    for whole, times in (("over-nifti-bold", TIMES), ("over-dicom-scan", MOMENTS)):
        image = kept.sample(whole).image(values="stored")
        for t in range(times):
            moment = split.sample(f"{whole}-t{t:03d}")
            assert moment.record.image().axes == "zyx"
            np.testing.assert_array_equal(moment.image(values="stored"), image[t])
            np.testing.assert_array_equal(moment.affine(), kept.sample(whole).affine())
    told = [f.detail for f in split.sample("over-nifti-bold-t002").record.findings if f.code == "temporal"]
    assert told == [f"time point 3 of {TIMES}"]


def test_a_file_that_is_split_is_read_and_inflated_once_in_a_process(raw, split, tmp_path, monkeypatch):
    inflated: Counter[int] = Counter()

    def counted(data, **more):
        inflated[len(data)] += 1
        return gunzip(data, **more)

    gunzip = inflate.gunzip
    monkeypatch.setattr(inflate, "gunzip", counted)
    again = build(raw, tmp_path / "again", "again", temporal="split")
    once = {(raw / "nifti" / f"{case}.nii.gz").stat().st_size for case in ("bold", "pair")}
    assert len(once) == 2, "files of one size cannot be told apart"
    assert all(inflated[size] == 1 for size in once)

    def shards(corpus: mdfp.Corpus) -> list[tuple[str, str]]:
        return sorted((s.path, s.sha256) for s in corpus.manifest.shards)

    assert shards(again) == shards(split)
    inflated.clear()
    monkeypatch.setattr(shared_files.SharedFiles, "get", lambda self, record: None)
    alone = build(raw, tmp_path / "alone", "alone", temporal="split")
    assert all(inflated[size] == TIMES for size in once)
    assert shards(alone) == shards(split)


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ({"sources": [{"id": "a"}]}, 0),
        ({"temporal": "keep", "sources": [{"id": "a"}]}, 0),
        ({"temporal": "split", "sources": [{"id": "a"}]}, shared_files.SHARED_BYTES),
        ({"sources": [{"id": "a"}, {"id": "b", "temporal": "split"}]}, shared_files.SHARED_BYTES),
    ],
)
def test_memory_of_a_worker_counts_the_files_it_keeps(recipe, more):
    def planned(recipe: dict) -> Any:
        return SimpleNamespace(recipe=recipe, placed=pa.table({"voxels": [1000, 5000]}))

    assert peak_bytes(planned(recipe)) == peak_bytes(planned({"sources": []})) + more


def test_the_report_counts_and_draws_them(kept):
    report = Path(kept.store.where("report.html")).read_text()
    assert "over-nifti-bold" in report
    assert "over-dicom" in report
