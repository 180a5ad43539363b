"""Pictures follow radiological convention and show true proportions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from mdfp import picture
from mdfp.sample import Acquisition, Grid, IntensityStats, Normalisation, SampleImage

SHAPE_ZYX = (30, 40, 50)
PANEL = 200
GAP = 4


def volume(blob_zyx: tuple[int, int, int] | None = None) -> np.ndarray:
    result = np.zeros(SHAPE_ZYX, dtype=np.int16)
    if blob_zyx:
        result[tuple(slice(i - 2, i + 3) for i in blob_zyx)] = 1000
    return result


def panels(image: Image.Image) -> list[np.ndarray]:
    """Grey values of the three panels, marks and scale bars blanked."""
    grey = np.asarray(image.convert("L")).astype(float)[:PANEL]
    result = [grey[:, n * (PANEL + GAP) : n * (PANEL + GAP) + PANEL].copy() for n in range(3)]
    for panel in result:
        panel[:22] = panel[-34:] = 0  # marks above and below, scale bar
        panel[PANEL // 2 - 14 : PANEL // 2 + 14, :22] = panel[PANEL // 2 - 14 : PANEL // 2 + 14, -22:] = 0
    return result


def middle(panel: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(panel > 128)
    return float(rows.mean()), float(columns.mean())


def view(array: np.ndarray, spacing=(1.0, 1.0, 1.0), **keywords) -> Image.Image:
    return picture.orthoview(array, spacing, window=(0, 1000), panel_px=PANEL, **keywords)


def test_what_is_on_the_patients_left_is_on_the_right_of_axial_and_coronal_pictures() -> None:
    # Canonical volumes: index x grows to the patient's Right, so a low x is on the left of the patient.
    blob = volume((15, 20, 8))
    label = (blob > 0).astype(np.uint8)
    axial, coronal, _ = panels(view(blob, label_zyx=label))
    assert middle(axial)[1] > PANEL * 0.6
    assert middle(coronal)[1] > PANEL * 0.6


def test_front_is_up_in_axial_and_left_in_sagittal_pictures_and_the_head_is_up() -> None:
    blob = volume((24, 32, 25))  # superior, anterior, midline
    axial, coronal, sagittal = panels(view(blob, label_zyx=(blob > 0).astype(np.uint8)))
    assert middle(axial)[0] < PANEL * 0.45
    assert middle(coronal)[0] < PANEL * 0.45
    assert middle(sagittal)[0] < PANEL * 0.45
    assert middle(sagittal)[1] < PANEL * 0.45


def test_marks_say_the_directions() -> None:
    by_name = {v.name: v.marks for v in picture.VIEWS}
    assert by_name == {
        "axial": ("R", "L", "A", "P"),
        "coronal": ("R", "L", "S", "I"),
        "sagittal": ("A", "P", "S", "I"),
    }


def test_each_panel_bears_its_marks_at_all_four_edges() -> None:
    image = np.asarray(view(volume()))[:PANEL]
    yellow = (image[..., 0] > 200) & (image[..., 2] < 150)
    for n in range(3):
        panel = yellow[:, n * (PANEL + GAP) : n * (PANEL + GAP) + PANEL]
        centre = slice(PANEL // 2 - 12, PANEL // 2 + 12)
        assert panel[centre, :24].any()
        assert panel[centre, -24:].any()
        assert panel[:24, centre].any()
        assert panel[-24:, centre].any()


def test_anisotropic_voxels_are_shown_in_true_proportions() -> None:
    cube = np.zeros((12, 60, 48), dtype=np.int16)
    cube[4:8, 20:40, 14:34] = 1000  # 20 mm along each axis at 1 x 1 x 5 mm
    for panel in panels(view(cube, (1.0, 1.0, 5.0), label_zyx=(cube > 0).astype(np.uint8))):
        rows, columns = np.nonzero(panel > 128)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert height == pytest.approx(width, rel=0.12)


def test_slices_go_through_the_largest_area_of_the_label() -> None:
    label = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    label[5, 10:12, 20:22] = 1
    label[21:24, 28:34, 38:42] = 2
    assert picture._slices(SHAPE_ZYX, label, ()) == (22, 31, 40)
    assert picture._slices(SHAPE_ZYX, label, (1,)) == (5, 11, 21)


def test_a_focus_that_is_not_there_falls_back_to_all_labels_and_no_label_to_the_middle() -> None:
    label = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    assert picture._slices(SHAPE_ZYX, label, ()) == (15, 20, 25)
    assert picture._slices(SHAPE_ZYX, None, ()) == (15, 20, 25)
    label[3:6, 10, 10] = 7
    assert picture._slices(SHAPE_ZYX, label, (9,)) == (4, 10, 10)


def test_contours_have_the_colour_of_their_label() -> None:
    label = np.zeros(SHAPE_ZYX, dtype=np.uint16)
    label[10:20, 10:30, 10:20] = 3
    label[10:20, 10:30, 30:40] = 300
    pixels = {tuple(p) for p in np.asarray(view(volume(), label_zyx=label)).reshape(-1, 3).tolist()}
    assert picture.colour(3) in pixels
    assert picture.colour(300) in pixels
    assert picture.colour(4) not in pixels


def test_colours_are_distinct_and_neighbours_are_far_apart() -> None:
    colours = [picture.colour(v) for v in range(1, 256)]
    assert len(set(colours)) == len(colours)
    near = [np.abs(np.subtract(a, b)).sum() for a, b in pairwise(colours)]
    assert min(near) > 90
    assert min(max(c) for c in colours) > 120
    assert picture.colour(0) == (0, 0, 0)


def test_window_maps_its_ends_to_black_and_white_and_clips() -> None:
    plane = np.array([[-5.0, 0.0, 50.0, 100.0, 900.0, np.nan]])
    assert picture._windowed(plane, (0.0, 100.0)).tolist() == [[0, 0, 128, 255, 255, 0]]
    assert picture._windowed(plane[:, 1:2], (0.0, 0.0)).tolist() == [[0]]


def test_the_legend_names_only_what_is_seen_and_counts_what_does_not_fit() -> None:
    label = np.ones(SHAPE_ZYX, dtype=np.uint8)
    plain, named = view(volume(), label_zyx=label), view(volume(), label_zyx=label, names={1: "liver", 2: "spleen"})
    assert plain.height == PANEL
    assert named.height == PANEL + 26
    font = picture._font(13)
    rows, left_out = picture._legend_rows([(v, f"structure_{v}") for v in range(1, 40)], font, 604)
    assert len(rows) == picture.LEGEND_ROWS
    assert sum(map(len, rows)) + left_out == 39
    assert all(x + 15 + picture._length(name, font) <= 604 for row in rows for x, _, name in row)


def test_the_same_input_gives_the_same_bytes() -> None:
    label = (volume((15, 20, 8)) > 0).astype(np.uint8)
    first, second = (picture.png(view(volume((15, 20, 8)), label_zyx=label, caption="a case")) for _ in range(2))
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert len(picture.png(view(volume()), colours=64)) < len(first)


def test_later_layers_cover_earlier_ones() -> None:
    base, lesion = np.array([[[1, 1, 0]]]), np.array([[[0, 2, 0]]])
    assert picture.flatten([base, lesion]).tolist() == [[[1, 2, 0]]]
    with pytest.raises(ValueError, match="layers of one shape"):
        picture.flatten([base, lesion[..., :2]])
    with pytest.raises(ValueError, match="layers of one shape"):
        picture.flatten([])


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="three axes"):
        view(np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"label's shape \(3, 4, 5\) is not the volume's"):
        view(volume(), label_zyx=np.zeros((3, 4, 5)))


def record(**fields) -> SampleImage:
    stats = IntensityStats(-1024, 2000, 0, 1, (-1000, -900, -500, 0, 10, 20, 40, 600, 800), None, None)
    grid = Grid(SHAPE_ZYX, (1.0, 1.0, 2.0), "RAS", None)
    values = {
        "name": "ct", "modality": "CT", "axes": "zyx", "dtype": "int16", "unit": "HU", "scale": 2.0, "offset": -100.0,
        "native": grid, "stored": grid, "native_dtype": "int16", "obliquity_deg": 0.0, "acquisition": Acquisition(),
        "acquisition_axis": "z", "native_intensity": stats, "stored_intensity": stats,
        "normalisation": Normalisation("window_hu", -100.0, 100.0), "padding_voxels": 0, "nonfinite_voxels": 0,
        "body_box": None, "content_hash": "0" * 32,
    }  # fmt: skip
    return SampleImage(**{**values, **fields})


def test_a_sample_is_shown_in_its_default_window_of_physical_values() -> None:
    stored = np.full(SHAPE_ZYX, 50, dtype=np.int16)  # physical 0: the middle of the window
    shown = np.asarray(picture.sample_view(record(), stored, panel_px=PANEL))
    assert shown[PANEL // 4, PANEL // 4].tolist() == [128, 128, 128]


def test_without_a_normalisation_percentiles_are_shown() -> None:
    assert picture.default_window(record()) == (-100.0, 100.0)
    assert picture.default_window(record(normalisation=Normalisation("none", 0.0, 0.0))) == (-900, 600)


def test_a_flat_image_has_no_three_planes() -> None:
    with pytest.raises(ValueError, match="found axes yx"):
        picture.sample_view(record(axes="yx"), np.zeros((4, 5)))


def test_a_contact_sheet_holds_every_tile_under_its_title() -> None:
    tiles = [picture.Tile(f"case {n}, a title that is far too long to fit " * 3, view(volume())) for n in range(5)]
    sheet = picture.contact_sheet(tiles, heading="abdomen-ct")
    assert sheet.width == 2 * tiles[0].image.width + 3 * 14
    assert sheet.height == 40 + 3 * (PANEL + 26) + 4 * 14
    with pytest.raises(ValueError, match="at least one picture"):
        picture.contact_sheet([])
