"""Pictures with masks through the real pipelines, from a generated tree to the shard and back; and what goes wrong with them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import mdfp
from examples.pictures import write_all
from examples.pictures.write import DX, dicom_picture, drawn
from mdfp.cli import app
from mdfp.frames import Frames
from mdfp.labels import State
from mdfp.verify import verify
from mdfp.wds import decoder
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.console import Console
from pipelines.inventory import read_inventory
from pipelines.plan import read_latest
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas.reasons import Reason
from transforms.normalise.flat import shrink
from transforms.plan.planner import Selection

CHECKOUT = Path(__file__).parents[2]
RECIPE = CHECKOUT / "examples" / "recipes" / "picture-masks.yaml"
SOURCES = ("phantom-discs", "phantom-lesions", "phantom-cells")


def build(recipe, roots, out):
    workspace = open_workspace(recipe, [f"{s}={root}" for s, root in roots.items()], str(out))
    runs.run(workspace, Selection(), Engine(1), BuildOptions(max_holes=0.9), Console(quiet=True, as_json=True))
    return workspace


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_all(folder)
    return {s: folder / s for s in SOURCES}


@pytest.fixture(scope="module")
def made(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("masks")
    workspace = build(RECIPE, raw, out)
    return workspace, mdfp.open(str(out)), out


def of_source(corpus, source):
    return [corpus.sample(s.key) for s in corpus.samples.where(source=source)]


def number_of(sample):
    return int(sample.key[-1])


def value(corpus, structure):
    return next(e.value for e in corpus.palette if e.structure == structure)


def test_every_mask_is_in_its_place(made):
    _, corpus, _ = made
    assert verify(corpus) == []
    assert len(corpus.samples) == 6 + 6 + 5
    disc, cup = value(corpus, "optic_disc"), value(corpus, "optic_cup")
    nucleus, lesion = value(corpus, "cell_nucleus"), value(corpus, "skin_lesion")
    for sample in of_source(corpus, "phantom-discs"):
        _, shapes = drawn(f"fundus{number_of(sample)}", 64, 80, 3)
        if number_of(sample) == 5:
            assert sample.record.labels == ()
            continue
        inner = 0 if number_of(sample) == 4 else cup
        outer = shapes > 0 if number_of(sample) != 4 else shapes == 1
        np.testing.assert_array_equal(sample.label(), np.where((shapes == 2) & (inner > 0), inner, outer * disc))
    for sample in of_source(corpus, "phantom-cells"):
        _, shapes = drawn(f"cells{number_of(sample)}", 70, 60)
        np.testing.assert_array_equal(sample.label(), np.array([0, nucleus, 255])[shapes])
    for sample in of_source(corpus, "phantom-lesions"):
        _, shapes = drawn(f"skin{number_of(sample)}", 90, 120, 3)
        assert sample.array().shape == (75, 100, 3)  # made smaller, and its mask with it
        area = shrink((shapes > 0) * np.uint16(65534), "yx", (75, 100))
        np.testing.assert_array_equal(sample.label(), (area >= 32767) * lesion)


def test_what_is_known_of_each_structure(made):
    _, corpus, _ = made
    for sample in of_source(corpus, "phantom-discs"):
        states = sample.states(["optic_disc", "optic_cup", "skin_lesion"])
        cup = {4: State.ABSENT, 5: State.UNKNOWN}.get(number_of(sample), State.PRESENT)
        disc = State.UNKNOWN if number_of(sample) == 5 else State.PRESENT
        assert states == {"optic_disc": disc, "optic_cup": cup, "skin_lesion": State.UNKNOWN}
        assert {label.origin for label in sample.record.labels} <= {"expert"}
    for sample in of_source(corpus, "phantom-cells"):
        (label,) = sample.record.labels
        assert (label.origin, label.native.affine_ras, label.native.spacing_xyz_mm) == ("consensus", None, None)
        (state,) = [s for s in sample.record.structures if s.state != State.UNKNOWN]
        assert (state.structure, state.native_mm3, state.stored_mm3) == ("cell_nucleus", None, None)
        assert state.native_voxels == (sample.label() == state.value).sum()


def test_a_reader_asks_for_classes_as_of_volumes(made):
    _, corpus, _ = made
    sample = corpus.sample("phantom-discs-fundus0")
    _, shapes = drawn("fundus0", 64, 80, 3)
    np.testing.assert_array_equal(sample.classes(["optic_disc"]), shapes > 0)  # the cup is a part of the disc
    np.testing.assert_array_equal(sample.classes(["optic_disc", "optic_cup"]), shapes)
    np.testing.assert_array_equal(sample.classes(["optic_cup"], box=(10, 20, 40, 60)), shapes[10:40, 20:60] == 2)
    np.testing.assert_array_equal(sample.masks(["optic_cup", "optic_disc"]), [shapes == 2, shapes > 0])
    np.testing.assert_array_equal(sample.multi_hot(["optic_cup", "optic_disc"]), [shapes == 2, shapes > 0])
    part = sample.multi_hot(["optic_cup"], box=(10, 20, 40, 60))
    np.testing.assert_array_equal(part[0], shapes[10:40, 20:60] == 2)
    found = sample.marginal(["optic_disc", "optic_cup"])
    np.testing.assert_array_equal(found.target, np.array([g[0] for g in found.groups]).searchsorted(shapes))
    np.testing.assert_array_equal(sample.label(box=(10, 20, 40, 60)) > 0, shapes[10:40, 20:60] > 0)
    cells = corpus.sample("phantom-cells-c1")
    _, shapes = drawn("cells1", 70, 60)
    np.testing.assert_array_equal(cells.classes(["cell_nucleus"]), np.array([0, 1, 255])[shapes])
    np.testing.assert_array_equal(cells.masks(["cell_nucleus"])[0], np.array([0, 1, 255])[shapes])
    unlabelled = corpus.sample("phantom-discs-fundus5")
    assert (unlabelled.classes(["optic_disc"]) == 255).all()


def test_a_loader_gives_batches_with_class_masks(made):
    _, corpus, _ = made
    frames = Frames((72, 60), labels=True, space=["optic_disc", "optic_cup"], ignore=-1)
    seen = 0
    for batch in corpus.loader("train", seed=3, crops=frames, batch=1, uneven="drop"):
        assert batch["image"].shape == (1, 3, 72, 60)
        assert batch["classes"].shape == (1, 72, 60)
        (key,), ((y0, x0, y1, x1),), (mask,) = batch["key"], batch["box"], batch["classes"]
        if not key.startswith("phantom-discs") or key.endswith("5"):
            assert set(np.unique(mask).tolist()) <= {-1, 0}  # what is drawn as something else is no disc
            continue
        whole = corpus.sample(key).classes(["optic_disc", "optic_cup"])
        assert (y0, y1) == (-4, 68)  # 64 rows in the middle of 72
        np.testing.assert_array_equal(mask[4:68], whole[:, x0:x1])
        assert (mask[:4] == -1).all()
        assert (mask[68:] == -1).all()
        seen += 1
    assert seen >= 2


def test_masks_are_png_that_any_reader_takes(made):
    _, corpus, out = made
    seen = 0
    for path in sorted((out / "shards").rglob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                if not extension.startswith("label."):
                    continue
                data = tar.extractfile(member).read()
                mask = corpus.sample(key).label()
                assert extension == "label.base.png"
                with Image.open(io.BytesIO(data)) as image:
                    assert image.mode == "L"
                    np.testing.assert_array_equal(np.asarray(image), mask)
                np.testing.assert_array_equal(decoder(f".{extension}", data), mask)
                seen += 1
    assert seen == 16


def test_a_mask_of_another_size_rejects_its_case_and_no_other(made):
    workspace, _, _ = made
    (reject,) = read_latest(workspace).rejects
    assert (reject.source, reject.reason) == ("phantom-lesions", Reason.LABEL_GRID)
    assert "100×90 pixels (x, y), its picture 'photo' 120×90" in reject.detail


def test_people_can_look_at_masks_and_take_them_out(made, tmp_path):
    _, corpus, out = made
    run = CliRunner()
    picture = tmp_path / "one.png"
    shown = run.invoke(app, ["show", str(out), "phantom-discs-fundus0", "-o", str(picture)])
    assert shown.exit_code == 0
    assert "present: optic_cup, optic_disc" in shown.output
    plain = tmp_path / "plain.png"
    unlabelled = run.invoke(app, ["show", str(out), "phantom-discs-fundus5", "-o", str(plain)])
    assert unlabelled.exit_code == 0
    with Image.open(picture) as with_mask, Image.open(plain) as without:
        assert with_mask.height > without.height  # a legend
    run.invoke(app, ["export", str(out), "phantom-cells-c1", "-o", str(tmp_path / "all")])
    with Image.open(tmp_path / "all" / "phantom-cells-c1.label.base.png") as image:
        np.testing.assert_array_equal(np.asarray(image), corpus.sample("phantom-cells-c1").label())
    run.invoke(app, ["export", str(out), "phantom-cells-c1", "-o", str(tmp_path / "some"), "--space", "cell_nucleus"])
    with Image.open(tmp_path / "some" / "phantom-cells-c1.classes.slide.png") as image:
        np.testing.assert_array_equal(np.asarray(image), corpus.sample("phantom-cells-c1").classes(["cell_nucleus"]))


def test_the_same_masks_give_the_same_bytes_again(made, raw, tmp_path, digests_of):
    build(RECIPE, raw, tmp_path / "again")
    assert digests_of(tmp_path / "again") == digests_of(made[2])


WRONG = """
id: wrong
title: Wrong
terms: {license: CC-BY-4.0}
patient: {namespace: wrong}
layout:
  kind: paired
  images: [{name: photo, modality: DX, path: "{case}.png"}]
  labels: [{table: t, image: photo, path: "{case}_mask.*"}]
labels: {t: {origin: expert, values: {0: background, 1: lung}}}
"""


def encoded(array, form="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


def turned(array, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(array, exif=exif)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """A tree of masks each of which is wrong in its own way, and sound ones beside them."""
    folder = tmp_path_factory.mktemp("wrong")
    rng = np.random.default_rng(8)
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 10:30] = 1
    files = {
        "sound": encoded(mask),
        "onebit": encoded(mask > 0),
        "size": encoded(mask[:-1]),
        "turned": turned(mask, 6),
        "value": encoded(mask * np.uint8(3)),
        "colour": encoded(np.stack([mask, 0 * mask, 0 * mask], axis=-1) * np.uint8(255)),
        "jpeg": encoded(mask, "JPEG"),
        "cut": encoded(rng.integers(0, 2, (30, 40)).astype(np.uint8) + mask)[:-30],
        "text": b"no picture at all",
    }
    for name, data in files.items():
        (folder / f"{name}.png").write_bytes(encoded(rng.integers(0, 255, (30, 40)).astype(np.uint8)))
        (folder / f"{name}_mask.{'jpg' if name == 'jpeg' else 'png'}").write_bytes(data)
    return folder


REASONS = {
    "size": Reason.LABEL_GRID,
    "turned": Reason.LABEL_GRID,
    "value": Reason.UNMAPPED_LABEL,
    "colour": Reason.LABEL_NOT_INTEGER,
    "jpeg": Reason.LABEL_UNREADABLE,
    "cut": Reason.LABEL_UNREADABLE,
    "text": Reason.LABEL_UNREADABLE,
}


def recipe(tmp_path, on_fault, manifest=WRONG):
    (tmp_path / "wrong.yaml").write_text(manifest.replace("title: Wrong", "title: Wrong\npublic_ids: true"))
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "corpus: wrong\nout: out\nsources: [{id: wrong, manifest: wrong.yaml}]\nterms: {accept: [CC-BY-4.0]}\n"
        f"labels: {{space: [lung], on_fault: {on_fault}}}\nsplits: {{by: patient, train: 1.0, val: 0.0}}\n"
    )
    return path


def test_each_wrong_mask_has_its_reason(wrong, tmp_path):
    workspace = build(recipe(tmp_path, "reject"), {"wrong": wrong}, tmp_path / "out")
    corpus = mdfp.open(str(tmp_path / "out"))
    assert {s.key for s in corpus.samples} == {"wrong-sound", "wrong-onebit"}
    early = {r.case_id: r.reason for r in read_inventory(workspace).rejects}
    early |= {r.case_id: r.reason for r in read_latest(workspace).rejects}
    left_out = {name.removeprefix("wrong-"): reason for name, reason in early.items() if name}
    late = {name: reason for name, reason in REASONS.items() if name not in left_out}
    assert left_out == {n: r for n, r in REASONS.items() if n in left_out}
    assert sorted(h.reason for h in corpus.manifest.holes) == sorted(late.values())
    assert verify(corpus) == []


def test_images_alone_are_kept_where_the_recipe_says_so(wrong, tmp_path):
    build(recipe(tmp_path, "image_only"), {"wrong": wrong}, tmp_path / "out")
    corpus = mdfp.open(str(tmp_path / "out"))
    assert {s.key.removeprefix("wrong-") for s in corpus.samples} == {"sound", "onebit", *REASONS}
    for record in corpus.samples:
        sound = record.key.removeprefix("wrong-") not in REASONS
        assert bool(record.labels) == sound, record.key
        assert record.state("lung") == (State.PRESENT if sound else State.UNKNOWN)


def test_a_threshold_takes_jpeg_and_smoothed_edges(tmp_path):
    mask = np.zeros((48, 64), np.uint8)
    mask[8:32, 16:48] = 255
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, data in {"a": encoded(mask, "JPEG", quality=70), "b": encoded(np.maximum(mask // 2 + 1, mask))}.items():
        (folder / f"{name}.png").write_bytes(encoded(mask.astype(np.uint8) + np.uint8(ord(name) % 2)))
        (folder / f"{name}_mask.{'jpg' if name == 'a' else 'png'}").write_bytes(data)
    manifest = WRONG.replace("values: {0: background, 1: lung}", "threshold: 140, values: {0: background, 1: lung}")
    build(recipe(tmp_path, "reject", manifest), {"wrong": folder}, tmp_path / "out")
    corpus = mdfp.open(str(tmp_path / "out"))
    for key in ("wrong-a", "wrong-b"):
        np.testing.assert_array_equal(corpus.sample(key).classes(["lung"]), mask > 0)


DICOM = """
id: wrong
title: Wrong
terms: {license: CC-BY-4.0}
patient: {namespace: wrong}
layout:
  kind: dicom
  path: "{case}/image.dcm"
  labels: [{table: t, image: dx, path: "{case}/mask.png"}]
labels: {t: {origin: expert, values: {0: background, 1: lung}}}
"""


def test_a_mask_of_a_dicom_picture_lies_on_its_rows_and_columns(tmp_path):
    mask = np.zeros((30, 40), np.uint8)
    mask[5:20, 10:30] = 1
    image = mask * np.uint16(500) + np.arange(40, dtype=np.uint16)
    for name, drawn_mask in (("a", mask), ("b", mask[:, :-1])):
        (tmp_path / "raw" / name).mkdir(parents=True)
        data = dicom_picture(image + np.uint16(ord(name)), "DX", f"mask-{name}", DX, PixelSpacing=[0.2, 0.1])
        (tmp_path / "raw" / name / "image.dcm").write_bytes(data)
        (tmp_path / "raw" / name / "mask.png").write_bytes(encoded(drawn_mask))
    build(recipe(tmp_path, "image_only", DICOM), {"wrong": tmp_path / "raw"}, tmp_path / "out")
    corpus = mdfp.open(str(tmp_path / "out"))
    assert verify(corpus) == []
    sound, other = (corpus.sample(f"wrong-{name}") for name in "ab")
    np.testing.assert_array_equal(sound.label() > 0, mask > 0)
    np.testing.assert_array_equal(sound.image(values="stored"), image + ord("a"))
    (state,) = sound.record.structures
    assert (state.box, state.native_mm3) == ((5, 10, 20, 30), None)
    assert other.record.labels == ()
    assert "39×30" in other.record.findings[-1].detail
