"""Pictures, reports and films through the real pipelines: inventory, plan, build, publish, and read back."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import mdfp
from examples.pictures import write_all
from examples.pictures.write import CHEST_STATES, pixels
from mdfp.errors import UsageError
from mdfp.frames import Frames
from mdfp.labels import State
from mdfp.verify import verify
from mdfp.wds import decoder
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.console import Console
from pipelines.gate import GateError
from pipelines.inventory import read_inventory, take_inventory
from pipelines.plan import read_latest
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas.reasons import Reason
from transforms.normalise.flat import shrink
from transforms.plan.planner import Selection
from transforms.read.jpeg import stripped

CHECKOUT = Path(__file__).parents[2]
RECIPES = CHECKOUT / "examples" / "recipes"


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_all(folder)
    return folder


def build(recipe, raw, out):
    sources = [s["id"] for s in yaml.safe_load(recipe.read_text())["sources"]]
    workspace = open_workspace(recipe, [f"{s}={raw / s}" for s in sources], str(out))
    runs.run(workspace, Selection(), Engine(1), BuildOptions(max_holes=0.9), Console(quiet=True, as_json=True))
    return workspace


@pytest.fixture(scope="module")
def few_shot(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("few")
    workspace = build(RECIPES / "few-shot.yaml", raw, out)
    return workspace, mdfp.open(str(out)), out


@pytest.fixture(scope="module")
def reports(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("reports")
    build(RECIPES / "image-report.yaml", raw, out)
    return mdfp.open(str(out))


@pytest.fixture(scope="module")
def cine(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("cine")
    build(RECIPES / "cine.yaml", raw, out)
    return mdfp.open(str(out)), out


def of_source(corpus, source):
    return [corpus.sample(s.key) for s in corpus.samples.where(source=source)]


def test_a_broken_picture_is_a_reject_and_everything_else_goes_on(few_shot):
    workspace, corpus, _ = few_shot
    assert Counter(s.source for s in corpus.samples) == {
        "phantom-skin": 12, "phantom-fundus": 10, "phantom-chest": 12, "phantom-nodules": 8, "phantom-radiographs": 6,
    }  # fmt: skip
    left_out = {(r.source, r.reason) for r in read_latest(workspace).rejects}
    assert left_out == {
        ("phantom-fundus", Reason.MISSING_FILE),
        ("phantom-chest", Reason.BAD_ANNOTATION),
        ("phantom-radiographs", Reason.TRUNCATED),
    }
    assert {(h.source, h.reason) for h in corpus.manifest.holes} == {
        ("phantom-skin", Reason.TRUNCATED),
        ("phantom-nodules", Reason.TRUNCATED),
    }
    assert verify(corpus) == []


def test_png_pixels_are_exact(few_shot):
    _, corpus, _ = few_shot
    for sample in of_source(corpus, "phantom-fundus"):
        np.testing.assert_array_equal(sample.image(values="stored"), pixels(f"eye{sample.key[-3:]}", 64, 80, 3))
        assert sample.record.image().stored.spacing_xyz_mm is None
        physical, ready = sample.image(), sample.image(values="normalised")
        np.testing.assert_allclose(ready, physical / 255, atol=1e-6)
        np.testing.assert_array_equal(sample.image(box=(3, 5, 0, 20, 30, 3), values="stored"), physical[3:20, 5:30])


def test_a_jpeg_is_its_own_stream_without_metadata(few_shot, raw):
    _, corpus, _ = few_shot
    for sample in of_source(corpus, "phantom-chest"):
        number = sample.key.rpartition("view")[2]
        original = (raw / f"phantom-chest/train/p{int(number) // 2:03d}/view{number}.jpg").read_bytes()
        name, data = sample.member("image", "xray")
        assert name.endswith(".image.xray.jpg")
        assert data == stripped(original)
        assert data[data.index(b"\xff\xda") :] == original[original.index(b"\xff\xda") :]
        with Image.open(io.BytesIO(original)) as image:
            assert np.abs(sample.image() - np.asarray(image)).max() <= 1


def test_nothing_of_the_metadata_is_anywhere(few_shot, reports, cine):
    for folder in (few_shot[2], cine[1], Path(reports.store.where(""))):
        files = [f for f in folder.rglob("*") if f.is_file()]
        assert len(files) > 5
        assert not [f for f in files if b"PLANTED" in f.read_bytes()]


def test_larger_pictures_are_made_smaller_and_their_boxes_move(few_shot):
    _, corpus, _ = few_shot
    for sample in of_source(corpus, "phantom-nodules"):
        number = int(sample.key[-1])
        image = pixels(f"n{number}", 100, 140, 1, 4095)
        np.testing.assert_array_equal(sample.image(values="stored"), shrink(image, "yx", (71, 100)))
        boxes = sample.annotations(kind="box")
        assert len(boxes) == number % 2
        assert sample.finding("nodule") is (State.PRESENT if number % 2 else State.ABSENT)
        for box in boxes:
            corners = np.array(box.index_xyz).reshape(2, 3) + 0.5
            expected = np.array([[10 + number, 20], [40 + number, 60]]) * [100 / 140, 71 / 100]
            np.testing.assert_allclose(corners[:, :2], expected)


def test_states_are_the_tables(few_shot):
    _, corpus, _ = few_shot
    meaning = dict(zip(CHEST_STATES, ("present", "absent", "uncertain", "unknown"), strict=True))
    for sample in of_source(corpus, "phantom-chest"):
        number = int(sample.key.rpartition("view")[2])
        for n, finding in enumerate(("pneumonia", "edema", "lung_lesion")):
            assert sample.finding(finding) == meaning[CHEST_STATES[(number + n) % 4]]
        assert sample.finding("fracture") is State.UNKNOWN
    for sample in of_source(corpus, "phantom-skin"):
        (diagnosis,) = sample.annotations(kind="class", name="diagnosis")
        folder = sample.key.removeprefix("phantom-skin-").partition("_")[0]
        assert diagnosis.value == {"mel": "melanoma", "nv": "nevus", "bkl": "keratosis"}[folder]
    for sample in of_source(corpus, "phantom-fundus"):
        number = int(sample.key[-3:])
        assert (sample.record.sex, sample.record.age_years) == ("FM"[number % 2], min(90, 30 + 8 * number))
        assert sample.snapshot()["annotations"][0]["value"] == ("none", "mild", "severe")[number % 3]


def test_dicom_pictures_are_bright_where_high_and_keep_their_window(few_shot):
    _, corpus, _ = few_shot
    for sample in of_source(corpus, "phantom-radiographs"):
        image = sample.record.image()
        np.testing.assert_array_equal(
            sample.image(values="stored"), 1023 - pixels(f"dx{sample.key[-1]}", 80, 64, 1, 1023)
        )
        assert (image.normalisation.kind, image.normalisation.lower, image.normalisation.upper) == ("voi", 311.5, 711.5)
        assert [f.code for f in sample.record.findings] == ["spacing_unknown"]


def test_no_patient_is_on_two_sides(few_shot):
    _, corpus, _ = few_shot
    splits = {}
    for s in corpus.samples:
        splits.setdefault(s.patient, set()).add(s.split)
    assert len(splits) < len(corpus.samples)
    assert all(len(found) == 1 for found in splits.values())


def test_plain_tar_readers_get_the_same(few_shot):
    import tarfile

    _, corpus, out = few_shot
    seen = 0
    for path in sorted((out / "shards").rglob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                array = decoder(f".{extension}", tar.extractfile(member).read())
                if array is not None:
                    np.testing.assert_array_equal(array, corpus.sample(key).image(values="stored"))
                    seen += 1
    assert seen == len(corpus.samples)


def test_the_report_shows_pictures(few_shot):
    _, _, out = few_shot
    assert (out / "contact-sheet.png").stat().st_size > 10_000
    assert "data:image/png;base64" in (out / "report.html").read_text()


def run_mdfp(*words):
    command = [sys.executable, "-m", "mdfp", *words]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout


def test_people_can_look_at_pictures(few_shot, tmp_path):
    _, corpus, out = few_shot
    sample = of_source(corpus, "phantom-nodules")[0]
    picture = tmp_path / "picture.png"
    assert "spacing unknown" in run_mdfp("show", str(out), sample.key, "-o", str(picture))
    with Image.open(picture) as image:
        assert image.width == 512
    run_mdfp("export", str(out), sample.key, "-o", str(tmp_path))
    assert (tmp_path / f"{sample.key}.image.xray.png").read_bytes() == sample.member("image", "xray")[1]
    assert (tmp_path / f"{sample.key}.json").exists()


def test_reports_come_with_their_studies(reports):
    assert len(reports.samples) == 7
    for record in reports.samples:
        sample = reports.sample(record.key)
        number = record.key[-1]
        assert sample.text("report") == f"The heart is of normal size. Größe unverändert. Study {number}."
        assert sample.text("impression") == f"No change, {number}."
        assert [(t.name, t.kind, t.language) for t in record.texts] == [
            ("report", "report", "en"),
            ("impression", "impression", "en"),
        ]
        assert record.split == ("test" if int(number) >= 6 else record.split)
        assert {i.name for i in record.images} == {"frontal", "lateral"}
        assert sample.image("lateral").shape == (72, 60)
        with pytest.raises(UsageError, match="frontal"):
            sample.image()
    (hole,) = reports.manifest.holes
    assert hole.reason == Reason.UNREADABLE  # a report in another encoding
    assert verify(reports) == []


def test_films_are_arrays_of_frames(cine):
    corpus, _ = cine
    axes = Counter()
    for sample in of_source(corpus, "phantom-cine"):
        image = sample.record.image()
        axes[image.axes] += 1
        frames = sample.image(values="stored")
        channels = 3 if "c" in image.axes else 1
        known = [np.stack([pixels(f"us{n}-{f}", 48, 64, channels) for f in range(6)]) for n in range(4)]
        assert any(np.array_equal(frames, film) for film in known)
        box = (2, 0, 0, 0, 3, 48, 64, 3) if channels == 3 else (2, 0, 0, 3, 48, 64)
        np.testing.assert_array_equal(sample.image(box=box, values="stored")[0], frames[2])
        assert [(a.name, a.value) for a in sample.annotations()] == [("frame_time", "40 ms")]
    assert axes == {"tyx": 2, "tyxc": 2}
    assert verify(corpus) == []


def test_films_in_files_come_with_their_measurements(cine):
    corpus, _ = cine
    samples = of_source(corpus, "phantom-films")
    assert len(samples) == 4
    for sample in samples:
        number = int(sample.key[-1])
        film = np.stack([pixels(f"film{number}-{frame}", 48, 64) for frame in range(8)])
        np.testing.assert_array_equal(sample.image(values="stored"), film)
        told = {a.name: a.value for a in sample.annotations(kind="measurement")}
        assert told == {"ejection_fraction": f"{40.5 + number} %", "frame_time": "20 ms"}


@pytest.mark.parametrize(
    ("recipe", "line"),
    [
        ("image-report.yaml", "policy: {accept: [text]}"),
        ("cine.yaml", "policy: {accept: [ultrasound]}"),
    ],
)
def test_what_may_name_a_person_needs_a_line_in_the_recipe(recipe, line, raw, tmp_path, capfd):
    text = (RECIPES / recipe).read_text().replace("../pictures", str(CHECKOUT / "examples" / "pictures"))
    strict = tmp_path / recipe
    strict.write_text("\n".join(x for x in text.splitlines() if not x.startswith("policy:")))
    sources = [s["id"] for s in yaml.safe_load(text)["sources"]]
    workspace = open_workspace(strict, [f"{s}={raw / s}" for s in sources], str(tmp_path / "out"))
    with pytest.raises(GateError, match="some-case"):
        take_inventory(workspace, Engine(), Console())
    assert f"add this line to the recipe: {line}" in " ".join(capfd.readouterr().err.split())
    found = read_inventory(workspace)
    assert {r.reason for r in found.rejects} <= {Reason.POLICY_REFUSED, Reason.TRUNCATED, Reason.UNREADABLE}
    assert not found.deciding.num_rows
    # No text went anywhere.
    files = [f for f in (tmp_path / "out").rglob("*") if f.is_file()]
    assert files
    assert not [f for f in files if b"normal size" in f.read_bytes()]


def test_the_same_pictures_give_the_same_bytes_again(few_shot, raw, tmp_path, digests_of):
    _, _, out = few_shot
    build(RECIPES / "few-shot.yaml", raw, tmp_path / "again")
    assert digests_of(tmp_path / "again") == digests_of(out)


def test_a_loader_gives_batches_with_what_is_known(few_shot):
    _, corpus, _ = few_shot
    frames = Frames(100, findings=("pneumonia", "nodule"), classes={"diagnosis": ["melanoma", "nevus", "keratosis"]})
    seen = 0
    for batch in corpus.loader("train", seed=3, crops=frames, batch=5, uneven="drop"):
        assert batch["image"].shape == (5, 3, 100, 100)
        assert batch["image"].dtype == np.float32
        assert 0 <= batch["image"].min() <= batch["image"].max() <= 1
        for key, findings, diagnosis in zip(batch["key"], batch["findings"], batch["diagnosis"], strict=True):
            sample = corpus.sample(key)
            state = sample.finding("pneumonia")
            expected = {State.PRESENT: 1.0, State.ABSENT: 0.0}.get(state, np.nan)
            np.testing.assert_array_equal(findings[0], expected)
            assert (diagnosis >= 0) == (sample.record.source == "phantom-skin")
            seen += 1
    assert seen == 20


def test_samples_are_chosen_and_counted_by_what_is_told_of_them(few_shot):
    _, corpus, out = few_shot
    for state in ("present", "absent", "uncertain"):
        keys = [s.key for s in corpus.samples.where(source="phantom-chest", findings={"edema": state})]
        assert keys
        assert all(corpus.sample(k).finding("edema") == state for k in keys)
    # Nobody said: three of the chest's, and all of the others'.
    assert len(corpus.samples.where(findings={"edema": "unknown"})) == 3 + 36
    nevi = corpus.samples.where(classes={"diagnosis": ["nevus", "melanoma"]})
    assert {corpus.sample(s.key).annotations(name="diagnosis")[0].value for s in nevi} == {"nevus", "melanoma"}
    assert len(nevi) == 8
    with pytest.raises(UsageError, match="states of edema"):
        corpus.samples.where(findings={"edema": "maybe"})
    lines = [line.split() for line in run_mdfp("stats", str(out)).splitlines()]
    assert ["diagnosis", "nevus", "phantom-skin", "4"] in lines
    assert ["edema", "phantom-chest", "3", "3", "3", "3"] in lines
