"""DICOM: series become cases, labels find their image, and every object ends in one place."""

from __future__ import annotations

import io
import random

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian

from schemas.reasons import Reason
from schemas.recipe import Limits
from schemas.source import Source
from transforms import layouts
from transforms.inventory_series import group_key, inventory_series, read_header
from transforms.plan.inventory import InventoryTable
from transforms.pseudonym import PatientKeys
from transforms.read.array import Blob, read_array
from transforms.rejected import Rejected
from transforms.store import SourceStore
from transforms.take_inventory import case_rows

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
TABLE = {"origin": "expert", "values": {0: "background", 1: "liver"}}


def source(layout=None, **more):
    content = {
        "id": "toy",
        "title": "Toy",
        "public_ids": True,
        "patient": {"namespace": "toy"},
        "layout": {"kind": "dicom", **(layout or {})},
        "labels": {"labels": TABLE} if layout and "labels" in layout else {},
    }
    return Source.model_validate({**content, **more})


def write_slice(path, z, *, series="1.2.3", patient="P1", shape=(5, 4), date="20200131", modality="CT", **more):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{series}.{more.get('number', z)}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.PatientID, ds.PatientName, ds.PatientSex, ds.PatientAge = patient, "Doe^Jane", "F", "095Y"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = f"9.{date}", series, "7.7"
    ds.StudyDate, ds.Modality, ds.InstanceNumber, ds.BodyPartExamined = date, modality, z, "ABDOMEN"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImagePositionPatient = [1, 2 + more.get("lean", 0) * z, 2.5 * z]
    ds.ImageOrientationPatient = more.get("plane", [1, 0, 0, 0, 1, 0])
    ds.PixelSpacing, ds.SliceThickness = [0.7, 0.6], 5
    ds.Rows, ds.Columns = shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    if "acquisition" in more:
        ds.AcquisitionNumber = more["acquisition"]
    ds.PixelData = np.full(shape, z, np.int16).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path)


def write_series(folder, slices=6, **more):
    for z in range(slices):
        write_slice(folder / f"{z:03}.dcm", z, **more)


def write_label(path, shape=(6, 5, 4)):
    import SimpleITK as sitk  # noqa: N813 (its usual name)

    image = sitk.GetImageFromArray(np.ones(shape, np.uint8))
    sitk.WriteImage(image, str(path))


def take(root, made, *, shuffle=None, **options):
    """(everything inventoried, objects listed, object-level rejects of reading)."""
    store = SourceStore(str(root))
    grouped = layouts.group(made, store.list(), store.read, KEYS)
    groups, unreadable = {}, []
    headers = list(grouped.headers)
    if shuffle is not None:
        random.Random(shuffle).shuffle(headers)
    for file in headers:
        try:
            read = read_header(file, store)
        except Rejected as fault:
            unreadable.append((file.object.path, fault.reason))
            continue
        groups.setdefault(group_key(read), []).append(read)
    found = [r for _, g in sorted(groups.items()) for r in inventory_series(g, made, store, KEYS, Limits(), **options)]
    placed = [o.path for r in found for o in r.objects] + [
        x.path for r in found for x in r.rejects if x.case_id is None
    ]
    assert sorted({*placed, *(p for p, _ in unreadable)}) == sorted(h.object.path for h in grouped.headers)
    if options.get("temporal") != "split":  # time points share their label
        assert len(placed) == len(set(placed))
    return found, unreadable


def cases(found):
    return [r.case for r in found if r.case is not None]


def reasons(found):
    return [x.reason for r in found for x in r.rejects]


class TestOneSeries:
    def test_a_series_is_a_case_in_slice_order(self, tmp_path):
        write_series(tmp_path / "x")
        found, _ = take(tmp_path, source())
        (case,) = cases(found)
        (image,) = case.images
        assert (image.modality, image.header.name, image.header.format) == ("CT", "ct", "dicom")
        assert image.header.shape == (6, 5, 4)
        assert image.header.orientation == "LPS"
        assert image.acquisition.body_part == "ABDOMEN"
        assert image.acquisition.slice_thickness_mm == 5
        assert [(o.path, o.array, o.ordinal) for o in found[0].objects] == [
            (f"x/{z:03}.dcm", "image:ct", z) for z in range(6)
        ]

    def test_what_identifies_a_person_is_replaced(self, tmp_path):
        write_series(tmp_path / "x", patient="Mueller")
        found, _ = take(tmp_path, source())
        (case,) = cases(found)
        assert case.patient == KEYS.patient("toy", "Mueller")
        assert case.study == KEYS.uid("9.20200131")
        assert case.series == KEYS.uid("1.2.3")
        assert (case.sex, case.age_years) == ("F", 90.0)
        for private in ("Mueller", "Jane", "2020", "1.2.3", "9.2", "7.7"):
            assert private not in repr((case, [r.rejects for r in found]))

    def test_the_order_of_reading_does_not_matter(self, tmp_path):
        write_series(tmp_path / "x")
        write_series(tmp_path / "y", series="1.2.4")
        assert take(tmp_path, source())[0] == take(tmp_path, source(), shuffle=3)[0]

    def test_a_gap_rejects_the_series_and_its_objects_are_told(self, tmp_path):
        write_series(tmp_path / "x", slices=8)
        (tmp_path / "x" / "004.dcm").unlink()
        found, _ = take(tmp_path, source())
        assert cases(found) == []
        assert reasons(found) == [Reason.MISSING_SLICES]
        assert len(found[0].objects) == 7

    def test_two_volumes_in_one_series_are_two_cases(self, tmp_path):
        write_series(tmp_path / "x")
        for z in range(5):
            write_slice(tmp_path / "x" / f"b{z}.dcm", z, shape=(7, 9), number=100 + z)
        found, _ = take(tmp_path, source({"path": "{case}/**"}))
        assert sorted(c.case_id for c in cases(found)) == ["toy-x", "toy-x-2"]
        assert sorted(c.images[0].header.shape for c in cases(found)) == [(5, 7, 9), (6, 5, 4)]

    def test_two_patients_in_one_series_are_refused(self, tmp_path):
        write_series(tmp_path / "x")
        write_slice(tmp_path / "x" / "006.dcm", 6, patient="P2")
        found, _ = take(tmp_path, source())
        assert reasons(found) == [Reason.CONFLICTING_FILES]
        assert "name 2 patients" in found[0].rejects[0].detail

    def test_a_modality_that_is_not_asked_for_is_not_selected(self, tmp_path):
        write_series(tmp_path / "x")
        write_series(tmp_path / "y", series="1.2.4", modality="MR")
        found, _ = take(tmp_path, source({"modalities": ["MR"]}))
        assert [c.images[0].modality for c in cases(found)] == ["MR"]
        assert reasons(found) == [Reason.NOT_SELECTED]

    def test_limits_hold(self, tmp_path):
        write_series(tmp_path / "x")
        store = SourceStore(str(tmp_path))
        made = source()
        reads = [read_header(h, store) for h in layouts.group(made, store.list(), store.read, KEYS).headers]
        (found,) = inventory_series(reads, made, store, KEYS, Limits(max_voxels=10))
        assert [r.reason for r in found.rejects] == [Reason.TOO_LARGE]

    @pytest.mark.parametrize("name", ["1.2.3", "x"])
    def test_a_series_is_excluded_by_its_uid_or_by_its_name(self, tmp_path, name):
        write_series(tmp_path / "x")
        found, _ = take(tmp_path, source({"path": "{case}/**"}, exclude={name: "a phantom"}))
        assert reasons(found) == [Reason.EXCLUDED]
        assert cases(found) == []

    def test_what_is_no_image_is_told_by_its_own_reason(self, tmp_path):
        write_series(tmp_path / "x")
        (tmp_path / "x" / "NOTES").write_bytes(b"no DICOM")
        dataset = pydicom.dcmread(tmp_path / "x" / "000.dcm")
        del dataset.PixelData
        dataset.save_as(tmp_path / "x" / "report")
        found, unreadable = take(tmp_path, source())
        assert len(cases(found)) == 1
        assert unreadable == [("x/NOTES", Reason.UNREADABLE), ("x/report", Reason.NO_PIXELS)]

    def test_a_header_longer_than_the_prefix_is_read_whole(self, tmp_path):
        write_series(tmp_path / "x")
        for path in (tmp_path / "x").iterdir():
            dataset = pydicom.dcmread(path)
            dataset.add_new(0x00091010, "OB", b"\0" * 100_000)
            dataset.save_as(path)
        found, _ = take(tmp_path, source())
        assert len(cases(found)) == 1


class TestNames:
    def test_several_series_of_one_case_get_names_of_their_own(self, tmp_path):
        write_series(tmp_path / "p" / "a")
        write_series(tmp_path / "p" / "b", series="1.2.4")
        found, _ = take(tmp_path, source({"path": "{case}/**"}))
        suffixes = [KEYS.uid(u)[:8] for u in ("1.2.3", "1.2.4")]
        assert sorted(c.case_id for c in cases(found)) == sorted(f"toy-p-{s}" for s in suffixes)

    def test_the_patient_may_come_from_the_path(self, tmp_path):
        write_series(tmp_path / "p_1", patient="anonymous")
        made = source({"path": "{person}_{visit}/**"}, patient={"namespace": "toy", "id": "{person}"})
        found, _ = take(tmp_path, made)
        assert cases(found)[0].patient == KEYS.patient("toy", "p")

    def test_without_any_patient_id_a_study_stands_for_one(self, tmp_path):
        write_series(tmp_path / "x", patient="")
        found, _ = take(tmp_path, source())
        assert cases(found)[0].patient == KEYS.patient("toy", "9.20200131")

    def test_days_between_studies_are_kept_and_dates_are_not(self, tmp_path):
        write_series(tmp_path / "a", date="20200131")
        write_series(tmp_path / "b", series="1.2.4", date="20200301")
        found = take(tmp_path, source())[0]
        rows = case_rows(found)
        assert sorted(InventoryTable([lambda names: rows], (), "k").deciding["days_from_first"].to_pylist()) == [0, 30]
        assert all(r.study_day != 737455 for r in found)


class TestLabels:
    LAYOUT = {  # noqa: RUF012 (never changed)
        "path": "{case}/dicom/**",
        "labels": [{"table": "labels", "image": "ct", "path": "{case}/liver.nrrd"}],
    }

    def test_a_label_joins_the_series_of_its_path(self, tmp_path):
        write_series(tmp_path / "p" / "dicom")
        write_label(tmp_path / "p" / "liver.nrrd")
        write_series(tmp_path / "q" / "dicom", series="1.2.4")
        found, _ = take(tmp_path, source(self.LAYOUT))
        by_id = {c.case_id: c for c in cases(found)}
        assert [(label.header.format, label.image, label.table) for label in by_id["toy-p"].labels] == [
            ("itk", "ct", "labels")
        ]
        assert by_id["toy-q"].labels == ()

    def test_a_label_without_series_is_a_reject(self, tmp_path):
        (tmp_path / "p").mkdir()
        write_label(tmp_path / "p" / "liver.nrrd")
        found, _ = take(tmp_path, source(self.LAYOUT))
        assert [(x.reason, x.path) for x in found[0].rejects] == [(Reason.NO_IMAGE, "p/liver.nrrd")]

    def test_a_label_that_fits_two_series_is_nobodys(self, tmp_path):
        write_series(tmp_path / "p" / "dicom" / "a")
        write_series(tmp_path / "p" / "dicom" / "b", series="1.2.4")
        write_label(tmp_path / "p" / "liver.nrrd")
        found, _ = take(tmp_path, source(self.LAYOUT))
        assert cases(found) == []
        assert set(reasons(found)) == {Reason.CONFLICTING_FILES}
        kept, _ = take(tmp_path, source(self.LAYOUT), on_fault="image_only")
        assert [c.labels for c in cases(kept)] == [(), ()]
        assert [f.code for f in cases(kept)[0].findings] == ["label_left_out"]

    def test_a_broken_label_does_what_was_asked(self, tmp_path):
        write_series(tmp_path / "p" / "dicom")
        (tmp_path / "p" / "liver.nrrd").write_bytes(b"NRRDx")
        found, _ = take(tmp_path, source(self.LAYOUT))
        assert [(x.reason, x.case_id) for x in found[0].rejects] == [(Reason.LABEL_UNREADABLE, "toy-p")]
        kept, _ = take(tmp_path, source(self.LAYOUT), on_fault="image_only")
        assert cases(kept)[0].labels == ()
        assert [(x.path, x.case_id) for r in kept for x in r.rejects] == [("p/liver.nrrd", None)]

    def test_a_required_label_that_is_missing_is_a_fault(self, tmp_path):
        write_series(tmp_path / "p" / "dicom")
        layout = {**self.LAYOUT, "labels": [{**self.LAYOUT["labels"][0], "required": True}]}
        assert reasons(take(tmp_path, source(layout))[0]) == [Reason.MISSING_LABEL]


class TestTilted:
    LAYOUT = TestLabels.LAYOUT

    def test_a_tilted_series_is_a_case_with_a_finding(self, tmp_path):
        write_series(tmp_path / "p" / "dicom", lean=0.6)
        found, _ = take(tmp_path, source(self.LAYOUT))
        (case,) = cases(found)
        assert [f.code for f in case.findings] == ["tilted"]
        assert case.images[0].header.shape == (6, 10, 4)  # 5 slices on, a slice lies 4.3 rows further
        assert case.images[0].header.verdict == "tilted"

    def test_a_label_on_the_slanted_slices_is_refused_and_one_on_the_upright_grid_is_kept(self, tmp_path):
        write_series(tmp_path / "p" / "dicom", lean=0.6)
        write_label(tmp_path / "p" / "liver.nrrd")  # of 6 slices of 5×4 pixels
        found, _ = take(tmp_path, source(self.LAYOUT))
        assert reasons(found) == [Reason.LABEL_GRID]
        assert "deskewed to 4×10×6 voxels (x, y, z); its label has 4×5×6" in found[0].rejects[0].detail
        kept, _ = take(tmp_path, source(self.LAYOUT), on_fault="image_only")
        assert [c.labels for c in cases(kept)] == [()]
        write_label(tmp_path / "p" / "liver.nrrd", shape=(6, 10, 4))
        found, _ = take(tmp_path, source(self.LAYOUT))
        assert [len(c.labels) for c in cases(found)] == [1]


def write_multiframe(path, echoes=(1, 8), slices=3):
    """An Enhanced MR object of one volume for each echo."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_slice(path, 0, modality="MR")
    ds = pydicom.dcmread(path)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    frames, pixels = [], []
    for z in range(slices):
        for echo in echoes:
            frame = Dataset()
            place, measures, plane, time = Dataset(), Dataset(), Dataset(), Dataset()
            place.ImagePositionPatient, plane.ImageOrientationPatient = [1, 2, 2.5 * z], [1, 0, 0, 0, 1, 0]
            measures.PixelSpacing, time.EffectiveEchoTime = [0.7, 0.6], echo
            frame.PlanePositionSequence, frame.PlaneOrientationSequence = [place], [plane]
            frame.PixelMeasuresSequence, frame.MREchoSequence = [measures], [time]
            frames.append(frame)
            pixels.append(np.full((5, 4), 10 * echo + z, np.int16))
    ds.PerFrameFunctionalGroupsSequence, ds.NumberOfFrames = frames, len(frames)
    ds.PixelData = np.stack(pixels).tobytes()
    ds.save_as(path)


def test_volumes_of_one_object_are_cases_that_share_it(tmp_path):
    write_multiframe(tmp_path / "x" / "a.dcm")
    store = SourceStore(str(tmp_path))
    (file,) = layouts.group(source(), store.list(), store.read, KEYS).headers
    found = inventory_series([read_header(file, store)], source(), store, KEYS, Limits())
    made = cases(found)
    assert [len(r.objects) for r in found] == [1, 1]
    assert len({c.case_id for c in made}) == 2
    assert [c.images[0].header.part for c in made] == [0, 1]
    blob = Blob("x/a.dcm", (tmp_path / "x" / "a.dcm").read_bytes())
    volumes = [read_array(c.images[0].header, [blob], Limits()) for c in made]
    assert [v.array_zyx[:, 0, 0].tolist() for v in volumes] == [[10, 11, 12], [80, 81, 82]]
    rows = case_rows(found)
    assert rows.num_rows == 2


def test_a_pet_that_cannot_be_uptake_is_a_reject_with_its_own_reason(tmp_path):
    write_series(tmp_path / "x", modality="PT")
    found, _ = take(tmp_path, source())
    assert reasons(found) == [Reason.NO_SUV]
    assert found[0].rejects[0].detail == "expected Units BQML, GML or CNTS, found none (6 instances)"


def test_an_instance_in_memory_is_an_instance(tmp_path):
    # Guards the generator above: what it writes is DICOM to a second reader.
    write_slice(tmp_path / "a.dcm", 3)
    again = pydicom.dcmread(io.BytesIO((tmp_path / "a.dcm").read_bytes()))
    assert again.pixel_array.shape == (5, 4)
    assert int(again.pixel_array[0, 0]) == 3


def write_times(folder, times=3, slices=4, **more):
    for t in range(times):
        for z in range(slices):
            write_slice(folder / f"{t}{z}.dcm", z, number=100 * t + z, acquisition=t + 1, **more)


LABELLED = {
    "path": "{patient}/{series}/*.dcm",
    "labels": [{"table": "labels", "image": "ct", "path": "{patient}/{series}.nii.gz", "required": False}],
}


class TestOverTime:
    def test_the_default_refuses_and_names_the_remedy(self, tmp_path):
        write_times(tmp_path / "P1" / "dce")
        found, _ = take(tmp_path, source({"path": "{patient}/{series}/*.dcm"}))
        ((reject,),) = (f.rejects for f in found)
        assert reject.reason is Reason.TEMPORAL
        assert "3 time points (AcquisitionNumber) at 4 positions" in reject.detail
        assert "`temporal: keep`" in reject.detail

    @pytest.mark.parametrize(
        ("temporal", "names"), [("keep", ["toy-p1_dce"]), ("split", [f"toy-p1_dce-t00{t}" for t in range(3)])]
    )
    def test_a_label_is_of_every_time_point(self, tmp_path, temporal, names):
        write_times(tmp_path / "P1" / "dce")
        write_label(tmp_path / "P1" / "dce.nii.gz", (4, 5, 4))
        found, _ = take(tmp_path, source(LABELLED), temporal=temporal)
        cases = [f.case for f in found]
        assert [c.case_id for c in cases] == names
        assert {len(c.labels) for c in cases} == {1}
        assert {c.patient for c in cases} == {KEYS.patient("toy", "P1")}
        assert len({c.series for c in cases}) == 1
        assert {o.path for f in found for o in f.objects} == {
            p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*")
        }
        shapes = {c.images[0].header.shape for c in cases}
        assert shapes == ({(3, 4, 5, 4)} if temporal == "keep" else {(4, 5, 4)})
        for number, case in enumerate(cases if temporal == "split" else ()):
            mine = {o.path for f in found if f.case is case for o in f.objects if o.array == "image:ct"}
            assert mine == {f"P1/dce/{number}{z}.dcm" for z in range(4)}

    def test_limits_are_of_all_time_points(self, tmp_path):
        write_times(tmp_path / "P1" / "dce")
        made = source({"path": "{patient}/{series}/*.dcm"})
        grouped = layouts.group(made, SourceStore(str(tmp_path)).list(), SourceStore(str(tmp_path)).read, KEYS)
        store = SourceStore(str(tmp_path))
        reads = [read_header(f, store) for f in grouped.headers]
        for temporal, limit, reason in (("keep", 239, Reason.TOO_LARGE), ("keep", 240, None), ("split", 80, None)):
            found = inventory_series(reads, made, store, KEYS, Limits(max_voxels=limit), temporal=temporal)
            assert {r.reason for f in found for r in f.rejects} == ({reason} if reason else set())
