from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mdfp.labels import State
from mdfp.sample import StructureState
from schemas.label_table import LabelTable
from schemas.reasons import Reason
from schemas.recipe import Labels
from transforms.labels import palette as palettes
from transforms.labels.label import LabelPart, normalise_labels
from transforms.normalise.content_hash import new_digest
from transforms.rejected import Rejected
from transforms.volume import Volume

Make = Callable[..., Any]


def entry(result: Any, structure: str) -> StructureState:
    found: StructureState = next(s for s in result.states if s.structure == structure)
    return found


def mask_of(*boxes: tuple[slice, slice, slice], shape: tuple[int, ...] = (5, 7, 9)) -> np.ndarray[Any, Any]:
    array = np.zeros(shape, np.uint8)
    for box in boxes:
        array[box] = 1
    return array


ALL = slice(None)


def test_swapping_two_labels_keeps_both(normalise: Make) -> None:
    label = np.zeros((5, 7, 9), np.uint8)
    label[:, :, :4], label[:, :, 5:] = 2, 1
    result = normalise(label, {0: "background", 1: "liver", 2: "spleen"})
    (record, stored), *_ = result.layers
    # In the palette the liver is 1 and the spleen 2: values of the source that mean the reverse change places.
    swapped = normalise(label, {0: "background", 1: "spleen", 2: "liver"}).layers[0][1]
    np.testing.assert_array_equal(stored, label)
    np.testing.assert_array_equal(swapped, np.array([0, 2, 1], np.uint8)[label])
    assert (record.layer, record.image, record.dtype, record.origin) == ("base", "ct", "uint8", "expert")
    assert record.grid_offset_voxels == 0


def test_every_structure_of_the_palette_has_a_state_with_its_numbers(normalise: Make) -> None:
    label = mask_of((slice(1, 3), slice(2, 5), slice(4, 9)))
    result = normalise(label, {0: "background", 1: "liver", 2: "spleen"}, palette=("aorta",))
    assert [s.structure for s in result.states] == ["aorta", "liver", "spleen"]
    liver, spleen, aorta = (entry(result, s) for s in ("liver", "spleen", "aorta"))
    assert (liver.state, liver.layer, liver.native_voxels, liver.stored_voxels) == (State.PRESENT, "base", 30, 30)
    assert liver.native_mm3 == pytest.approx(30 * 0.8 * 0.9 * 1.3)
    assert liver.stored_mm3 == pytest.approx(liver.native_mm3)
    assert (liver.box, liver.blocks, liver.vanished) == ((1, 2, 4, 3, 5, 9), (0,), False)
    assert (spleen.state, spleen.native_voxels, spleen.layer, spleen.box) == (State.ABSENT, 0, None, None)
    assert spleen.origin == "expert"
    assert (aorta.state, aorta.native_voxels, aorta.origin) == (State.UNKNOWN, None, None)


def test_a_lesion_smaller_than_a_voxel_is_vanished_and_not_absent(normalise: Make, image: Make) -> None:
    organ = mask_of((slice(2, 10), slice(2, 12), slice(2, 14)), shape=(12, 14, 16))
    lesion = np.zeros_like(organ)
    lesion[5, 6, 7] = 1
    on = image(organ.shape, (1.0, 1.0, 1.0), to=(3.0, 3.0, 3.0))
    result = normalise({"liver": organ, "liver_tumour": lesion}, on=on)
    tumour = entry(result, "liver_tumour")
    assert (tumour.state, tumour.native_voxels, tumour.stored_voxels) == (State.PRESENT, 1, 0)
    assert tumour.vanished
    assert (tumour.layer, tumour.box, tumour.outside_fraction) == (None, None, 0.0)
    assert result.warnings == ("labels: liver_tumour vanished: 1 native voxels, none stored",)
    assert entry(result, "liver").native_voxels == 8 * 10 * 12 - 1


def test_a_thin_structure_does_not_vanish(normalise: Make, image: Make) -> None:
    vessel = mask_of((slice(5, 6), slice(6, 7), ALL), shape=(12, 14, 16))
    on = image(vessel.shape, (1.0, 1.0, 1.0), to=(3.0, 3.0, 3.0))
    assert entry(normalise({"hepatic_vessel": vessel}, on=on), "hepatic_vessel").vanished
    kept = normalise({"hepatic_vessel": vessel}, on=on, wanted=Labels(thin=("hepatic_vessel", "aorta")))
    assert entry(kept, "hepatic_vessel").stored_voxels == on.grid.shape_zyx[2]


def test_sides_are_merged_into_a_kidney_that_was_drawn_whole(normalise: Make) -> None:
    label = mask_of((ALL, ALL, slice(0, 2)), (ALL, ALL, slice(7, 9)))
    result = normalise(label, {0: "background", 1: "kidney"}, palette=("kidney_left", "kidney_right"))
    for side in ("kidney_left", "kidney_right"):
        found = entry(result, side)
        assert (found.state, found.merged_into, found.native_voxels) == (State.MERGED, "kidney", None)
        assert found.origin == "expert"
    empty = normalise(np.zeros_like(label), {0: "background", 1: "kidney"}, palette=("kidney_left",))
    assert entry(empty, "kidney_left").state == State.ABSENT


def test_a_whole_drawn_as_its_sides_is_present_without_voxels_of_its_own(normalise: Make) -> None:
    label = mask_of((ALL, ALL, slice(0, 2)))
    result = normalise(label, {0: "background", 1: "kidney_left", 2: "kidney_right"}, palette=("kidney",))
    kidney = entry(result, "kidney")
    assert (kidney.state, kidney.native_voxels, kidney.layer, kidney.vanished) == (State.PRESENT, 0, None, False)
    assert entry(result, "kidney_right").state == State.ABSENT


def test_a_lesion_overlapping_its_organ_shares_the_base_layer(normalise: Make) -> None:
    organ = mask_of((slice(0, 4), ALL, slice(0, 6)))
    lesion = mask_of((slice(1, 2), slice(2, 4), slice(4, 8)))
    result = normalise({"liver": organ, "liver_tumour": lesion})
    ((record, stored),) = result.layers
    assert record.layer == "base"
    np.testing.assert_array_equal(stored, np.where(lesion, 2, organ))
    assert entry(result, "liver_tumour").outside_fraction == 0.5
    assert entry(result, "liver").native_voxels == organ.sum() - 4
    assert entry(result, "liver").outside_fraction is None


def test_two_unrelated_structures_that_overlap_make_two_layers(normalise: Make) -> None:
    big, small = mask_of((ALL, ALL, slice(0, 5))), mask_of((ALL, ALL, slice(4, 7)))
    result = normalise({"stomach": small, "spleen": big})
    assert [r.layer for r, _ in result.layers] == ["base", "overlap1"]
    np.testing.assert_array_equal(result.layers[0][1], big * 1)
    np.testing.assert_array_equal(result.layers[1][1], small * 2)
    assert (entry(result, "spleen").layer, entry(result, "stomach").layer) == ("base", "overlap1")
    assert entry(result, "stomach").native_voxels == small.sum()


def test_a_structure_without_a_mask_file_is_unknown(normalise: Make, image: Make, case_label: Make) -> None:
    table = LabelTable(origin="expert", structures={"liver": "liver", "spleen": "spleen"})
    on = image()
    part = LabelPart(case_label(), table, ((Volume(mask_of((ALL, ALL, slice(3))), on.canonical.affine_ras), "liver"),))
    result = normalise_labels([part], {"ct": on}, palettes.build(["liver", "spleen"]), Labels())
    assert [s.state for s in result.states] == [State.PRESENT, State.UNKNOWN]


def test_an_unmapped_value_rejects_the_label(normalise: Make) -> None:
    label = mask_of((ALL, ALL, slice(0, 2)))
    label[0, 0, 8] = 4
    with pytest.raises(Rejected, match=r"found also 4 \(1 voxels\)") as raised:
        normalise(label, {0: "background", 1: "liver"})
    assert raised.value.reason is Reason.UNMAPPED_LABEL


def test_an_ignored_value_is_ignored_and_makes_absence_partial(normalise: Make) -> None:
    label = mask_of((ALL, ALL, slice(0, 2)))
    label[0, :, 8] = 9
    result = normalise(label, {0: "background", 1: "liver", 2: "spleen"}, ignore=(9,))
    assert (result.layers[0][1][0, :, 8] == 255).all()
    assert entry(result, "liver").state == State.PRESENT
    spleen = entry(result, "spleen")
    assert (spleen.state, spleen.extent) == (State.PARTIAL, (0, 0, 0, 5, 7, 9))


def test_an_all_empty_mask_may_be_a_fault(normalise: Make) -> None:
    with pytest.raises(Rejected, match="every voxel of the label is background") as raised:
        normalise(np.zeros((5, 7, 9), np.uint8), {0: "background", 1: "liver"}, all_empty="fault")
    assert raised.value.reason is Reason.MISSING_LABEL


def test_a_label_of_a_part_of_the_image_is_partial_and_ignored_outside(image: Make, case_label: Make) -> None:
    on = image((10, 12, 14), (1.0, 1.0, 1.0), to=(2.0, 2.0, 2.0))
    box = np.zeros((4, 6, 6), np.uint8)
    box[1:3, 1:5, 1:5] = 1
    affine = on.canonical.affine_ras.copy()
    affine[:3, 3] += affine[:3, :3].dot([4.0, 2.0, 6.0])
    table = LabelTable(origin="expert", values={0: "background", 1: "liver", 2: "spleen"})
    part = LabelPart(case_label(), table, ((Volume(box, affine), None),))
    result = normalise_labels([part], {"ct": on}, palettes.build(["liver", "spleen", "aorta"]), Labels())
    assert [s.state for s in result.states] == [State.UNKNOWN, State.PARTIAL, State.PARTIAL]
    assert entry(result, "spleen").extent == (3, 1, 2, 5, 4, 5)
    assert entry(result, "liver").native_voxels == 32
    stored = result.layers[0][1]
    assert (stored[:2] == 255).all()
    assert (stored[3:5, 1:4, 2:5] != 255).all()


def test_a_crop_of_the_image_crops_its_label_alike(normalise: Make, image: Make) -> None:
    rng = np.random.default_rng(5)
    label = np.kron(rng.integers(0, 3, (3, 4, 5)), np.ones((4, 3, 3))).astype(np.uint8)
    values = {0: "background", 1: "liver", 2: "spleen"}
    spacing, to, box = (0.8, 0.9, 1.3), (1.5, 1.5, 1.5), (2, 1, 3, 8, 5, 7)
    inside = tuple(slice(a, b) for a, b in zip(box[:3], box[3:], strict=True))
    for wanted in (Labels(), Labels(resample="nearest"), Labels(thin=("liver",))):
        whole = normalise(label, values, on=image(label.shape, spacing, to), wanted=wanted)
        cropped = normalise(label, values, on=image(label.shape, spacing, to, box=box), wanted=wanted)
        np.testing.assert_array_equal(cropped.layers[0][1], whole.layers[0][1][inside])
        assert cropped.layers[0][0].content_hash == whole.layers[0][0].content_hash


@pytest.mark.parametrize("wanted", [Labels(), Labels(resample="nearest"), Labels(thin=("spleen",))])
def test_flipping_and_turning_the_file_changes_nothing(image: Make, case_label: Make, wanted: Labels) -> None:
    rng = np.random.default_rng(7)
    label = np.kron(rng.integers(0, 3, (3, 4, 5)), np.ones((4, 3, 3))).astype(np.int16)
    table = LabelTable(origin="expert", values={0: "background", 1: "liver", 2: "spleen"})
    on = image(label.shape, (0.8, 0.9, 1.3), to=(1.5, 1.4, 1.9))
    affine = on.canonical.affine_ras
    flipped = affine.copy()
    flipped[:3, 3] += flipped[:3, 0] * (label.shape[2] - 1)
    flipped[:3, 0] *= -1
    turned = flipped[:, [2, 0, 1, 3]]  # its x is our z, its y our (flipped) x, its z our y
    files = (
        Volume(label, affine),
        Volume(np.ascontiguousarray(label[:, :, ::-1]), flipped),
        Volume(np.ascontiguousarray(label[:, :, ::-1].transpose(1, 2, 0)).astype(np.float32), turned),
    )
    palette = palettes.build(["liver", "spleen"])
    results = [
        normalise_labels([LabelPart(case_label(), table, ((f, None),))], {"ct": on}, palette, wanted) for f in files
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(other.layers[0][1], results[0].layers[0][1])
        assert other.states == results[0].states
        assert replace(other.layers[0][0], native=results[0].layers[0][0].native) == results[0].layers[0][0]


def test_the_hash_is_that_of_the_remapped_native_label(normalise: Make, image: Make) -> None:
    label = np.asfortranarray(np.arange(5 * 7 * 9).reshape(5, 7, 9) % 3)
    result = normalise(label, {0: "background", 1: "spleen", 2: "liver"}, on=image(to=(2.0, 2.0, 2.0)))
    remapped = np.array([0, 2, 1], np.uint8)[label]
    digest = new_digest(remapped.dtype, remapped.shape)
    digest.update(remapped.tobytes())
    assert result.layers[0][0].content_hash == digest.hexdigest()


def test_further_labels_keep_their_own_layers_and_the_first_decides(image: Make, case_label: Make) -> None:
    on = image()
    drawn, empty = mask_of((ALL, ALL, slice(3))), np.zeros((5, 7, 9), np.uint8)

    def part(array: Any, table: str, origin: str, values: dict[int, str]) -> LabelPart:
        label_table = LabelTable(origin=origin, values=values)
        return LabelPart(case_label(table, origin), label_table, ((Volume(array, on.canonical.affine_ras), None),))

    parts = [
        part(empty, "reader-1", "expert", {0: "background", 1: "liver"}),
        part(drawn, "reader-2", "expert", {0: "background", 1: "liver"}),
        part(drawn, "reader-2", "model", {0: "background", 1: "spleen"}),
    ]
    result = normalise_labels(parts, {"ct": on}, palettes.build(["liver", "spleen"]), Labels())
    assert [r.layer for r, _ in result.layers] == ["base", "reader_2", "reader_2_ct"]
    assert (entry(result, "liver").state, entry(result, "liver").origin) == (State.ABSENT, "expert")
    assert (entry(result, "spleen").state, entry(result, "spleen").origin) == (State.PRESENT, "model")
    assert result.warnings == ("liver: absent in reader-1 (expert), present in reader-2 (expert); the first was kept",)


def test_of_several_origins_the_expert_decides_whichever_comes_first(image: Make, case_label: Make) -> None:
    on = image()
    drawn, empty = mask_of((ALL, ALL, slice(3))), np.zeros((5, 7, 9), np.uint8)

    def part(array: Any, name: str, origin: str) -> LabelPart:
        table = LabelTable(origin=origin, values={0: "background", 1: "liver"})
        return LabelPart(case_label(name, origin), table, ((Volume(array, on.canonical.affine_ras), None),))

    parts = [part(drawn, "pseudo", "pseudo"), part(drawn, "network", "model"), part(empty, "drawn", "expert")]
    result = normalise_labels(parts, {"ct": on}, palettes.build(["liver"]), Labels())
    assert (entry(result, "liver").state, entry(result, "liver").origin) == (State.ABSENT, "expert")
    assert [(s.structure, s.state, s.origin) for s in result.others] == [
        ("liver", State.PRESENT, "model"), ("liver", State.PRESENT, "pseudo")
    ]  # fmt: skip
    assert len(result.warnings) == 2


def test_masks_are_read_one_at_a_time(image: Make, case_label: Make) -> None:
    on = image()
    log: list[str] = []

    def mask(structure: str) -> Callable[[], Volume]:
        def read() -> Volume:
            log.append(structure)
            return Volume(mask_of((ALL, ALL, slice(3))), on.canonical.affine_ras)

        return read

    names = ("aorta", "liver", "spleen")
    part = LabelPart(
        case_label(),
        LabelTable(origin="model", structures={n: n for n in names}),
        tuple((mask(n), n) for n in names),
    )
    normalise_labels([part], {"ct": on}, palettes.build(names), Labels())
    assert log == list(names)


def test_masks_of_one_label_on_different_boxes_are_refused(image: Make, case_label: Make) -> None:
    on = image()
    affine = on.canonical.affine_ras
    masks = ((Volume(mask_of(), affine), "liver"), (Volume(mask_of()[:3], affine), "spleen"))
    part = LabelPart(case_label(), LabelTable(origin="expert", structures={"a": "liver", "b": "spleen"}), masks)
    with pytest.raises(Rejected, match=r"\(0, 0, 0, 5, 7, 9\) and \(0, 0, 0, 3, 7, 9\)"):
        normalise_labels([part], {"ct": on}, palettes.build(["liver", "spleen"]), Labels())


def test_without_labels_nothing_is_known(image: Make) -> None:
    result = normalise_labels([], {"ct": image()}, palettes.build(["liver", "spleen"]), Labels())
    assert result.layers == ()
    assert {s.state for s in result.states} == {State.UNKNOWN}


def test_a_volume_that_changes_by_more_than_a_tenth_is_a_warning(normalise: Make, image: Make) -> None:
    sheets = np.zeros((40, 40, 40), np.uint8)
    sheets[1::3] = 1  # one voxel thick, where the nearest voxels of the output lie
    on = image(sheets.shape, (1.0, 1.0, 1.0), to=(3.0, 3.0, 3.0))
    result = normalise(sheets, {0: "background", 1: "liver"}, on=on, wanted=Labels(resample="nearest"))
    assert result.warnings == ("labels: liver: stored volume is 2.85 of the native one (59319 of 20800 mm³)",)


def test_volumes_of_organs_hold_to_two_percent(normalise: Make, image: Make) -> None:
    spacing, shape = (0.8, 0.9, 1.3), (70, 100, 120)
    z, y, x = (np.arange(n) * s for n, s in zip(shape, spacing[::-1], strict=True))
    # Semi-axes in mm; the smallest has 5.3 ml.
    organs = {
        1: ((45, 40, 30), (14, 9, 10)), 2: ((40, 60, 70), (25, 20, 17)), 3: ((70, 25, 70), (15, 15, 15)),
    }  # fmt: skip
    label = np.zeros(shape, np.uint8)
    for value, (centre, axes) in organs.items():
        (cz, cy, cx), (az, ay, ax) = centre, axes
        inside = ((z - cz) / az)[:, None, None] ** 2 + ((y - cy) / ay)[:, None] ** 2 + ((x - cx) / ax) ** 2 <= 1
        assert not (label[inside] != 0).any()
        label[inside] = value
    names = {1: "liver", 2: "spleen", 3: "stomach"}
    on = image(shape, spacing, to=(1.5, 1.5, 1.5))
    result = normalise(label, {0: "background", **names}, on=on)
    for value, structure in names.items():
        _, (az, ay, ax) = organs[value]
        analytic = 4 / 3 * np.pi * az * ay * ax
        assert analytic > 5000
        assert entry(result, structure).stored_mm3 == pytest.approx(analytic, rel=0.02)
    assert result.warnings == ()
