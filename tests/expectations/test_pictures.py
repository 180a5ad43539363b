"""The samples to look at first come first, and are drawn."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from expectations import pictures
from expectations.validate import validate_samples

SHAPE_ZYX = (20, 24, 28)


def outcomes(samples):
    return validate_samples(samples, [], {s.case_id for s in samples}).outcomes


def read(sample, image):
    stored = np.zeros(SHAPE_ZYX, dtype=np.int16)
    label = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    label[5:15, 6:16, 7:17] = 2
    return stored, [label]


def test_gates_come_before_warnings_and_warnings_before_volume_changes(make_sample, with_structure, with_image) -> None:
    samples = [make_sample(n) for n in range(5)]
    fine, changed, warned, failed, both = range(5)
    for n in (fine, changed, warned, failed, both):
        for structure in samples[n].structures:
            samples[n] = with_structure(samples[n], structure.structure, stored_mm3=structure.native_mm3)
    samples[changed] = with_structure(
        samples[changed], "spleen", stored_mm3=1.05 * samples[changed].structures[0].native_mm3
    )
    samples[warned] = replace(samples[warned], warnings=("look",))
    samples[failed] = with_image(samples[failed], {"minimum": -3000.0})
    samples[both] = with_structure(samples[both], "liver", box=(0, 0, 0, 1, 1, 9999))
    samples[both] = replace(samples[both], warnings=("look",))

    concerns = pictures.worst_cases(samples, outcomes(samples))

    assert [c.sample.key for c in concerns] == [samples[n].key for n in (failed, both, warned, changed)]
    assert concerns[0].reasons == ("ct-above-floor: ct",)
    assert concerns[1].reasons == ("no-build-warnings", "box-inside: liver")
    assert concerns[1].structures == ("liver",)
    assert concerns[3].reasons == ("spleen: volume x 1.050",)
    assert len(pictures.worst_cases(samples, outcomes(samples), limit=2)) == 2


def test_both_sides_of_a_pair_are_in_focus(samples) -> None:
    concerns = pictures.worst_cases(samples, outcomes(samples))
    assert next(c for c in concerns if c.sample is samples[34]).structures == ("kidney_left", "kidney_right")


def test_pictures_of_concerns_are_png_with_their_reasons(make_sample, with_structure) -> None:
    sample = with_structure(make_sample(0), "liver", vanished=True, stored_voxels=0, stored_mm3=0.0, box=None)
    [drawn] = pictures.draw_worst(pictures.worst_cases([sample], outcomes([sample])), read)
    assert drawn.title == sample.key
    assert drawn.caption == "nothing-vanished: liver"
    assert Image.open(io.BytesIO(drawn.png)).size[0] == 3 * 200 + 8


def test_a_contact_sheet_shows_each_source_by_its_richest_sample(samples) -> None:
    asked = []

    def noting(sample, image):
        asked.append(sample)
        return read(sample, image)

    sheet = pictures.draw_contact_sheet(samples, noting, heading="abdomen")
    assert sheet is not None
    assert [s.source for s in asked] == ["msd-task09-spleen", "my-mr", "totalsegmentator"]
    assert asked[2].state("liver_tumour") == "present"
    assert Image.open(io.BytesIO(sheet)).format == "PNG"


def test_samples_without_a_volume_show_their_first_picture(make_sample, with_image) -> None:
    flat = with_image(make_sample(0), axes="yx")
    (image, *_) = flat.images
    flat = with_image(flat, stored=replace(image.stored, shape=(20, 30), spacing_xyz_mm=None, affine_ras=None))
    assert pictures._caption(flat).startswith(f"{flat.split}   30 x 20 pixels")  # x, y, as people say sizes
    drawn = pictures.draw(
        flat, lambda sample, image: (np.arange(600, dtype=np.uint8).reshape(20, 30), []), caption="words"
    )
    assert drawn is not None
    assert drawn.size[0] == 2 * pictures.picture.PANEL_PX
    assert pictures.draw_contact_sheet([flat], lambda s, i: (np.zeros((20, 30), np.uint8), [])) is not None


def test_samples_without_images_have_no_picture(make_sample) -> None:
    empty = replace(make_sample(0), images=(), labels=())
    assert pictures.draw(empty, read) is None
    assert pictures.draw_contact_sheet([empty], read) is None


@pytest.mark.parametrize("layers", [0, 2])
def test_any_number_of_layers_is_drawn(make_sample, layers: int) -> None:
    image = pictures.draw(make_sample(0), lambda s, i: (read(s, i)[0], read(s, i)[1] * layers))
    assert image is not None
