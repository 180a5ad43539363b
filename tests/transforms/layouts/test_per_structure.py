"""One mask file for each structure, and further images beside them, on listings: who belongs together, what is left out and why."""

from __future__ import annotations

from typing import ClassVar

import pytest

from mdfp.errors import UsageError
from schemas.reasons import Reason
from tests.transforms.layouts.listings import (
    KEYS,
    PER,
    PER_LABELS,
    files_of,
    listing,
    nothing,
    reasons,
    source,
)
from transforms import layouts


class TestPerStructure:
    def group(self, *paths, **more):
        return layouts.group(source(PER, PER_LABELS, **more), listing(*paths), nothing, KEYS)

    def test_each_file_reaches_its_structure(self):
        found = self.group("a/ct.nii.gz", "a/seg/kidney_left.nii.gz", "a/seg/hip_right.nii.gz")
        (case,) = found.cases
        assert {o.path: s for o, s in case.labels[0].objects} == {
            "a/seg/kidney_left.nii.gz": "kidney_left",
            "a/seg/hip_right.nii.gz": "hip_bone_right",
        }

    def test_an_image_without_masks_is_unlabelled(self):
        (case,) = self.group("a/ct.nii.gz").cases
        assert case.labels == ()
        assert case.faults == ()

    def test_a_mask_without_image_is_a_reject(self):
        assert reasons(self.group("a/seg/kidney_left.nii.gz")) == [(Reason.NO_IMAGE, "a/seg/kidney_left.nii.gz")]

    def test_an_unknown_mask_is_a_label_fault(self):
        (case,) = self.group("a/ct.nii.gz", "a/seg/livre.nii.gz").cases
        assert [(f.reason, f.concerns) for f in case.faults] == [(Reason.UNMAPPED_LABEL, "label")]
        assert "no structure for the mask 'livre'" in case.faults[0].detail

    def test_a_mask_mapped_to_background_is_passed_over(self):
        found = self.group("a/ct.nii.gz", "a/seg/junk.nii.gz")
        assert found.cases[0].labels == ()
        assert found.counts.side == 1

    def test_the_split_of_a_table_is_taken(self):
        def read(path):
            return b"image_id;age;split\na;50;test\nb;;train\n"

        table = {"path": "**/meta.csv", "case": "image_id"}
        found = layouts.group(
            source(PER, PER_LABELS, split_table=table),
            listing("a/ct.nii.gz", "b/ct.nii.gz", "c/ct.nii.gz", "top/meta.csv"),
            read,
            KEYS,
        )
        assert {c.name: c.split for c in found.cases} == {"a": "test", "b": "train", "c": None}

    @pytest.mark.parametrize(
        ("paths", "table", "message"),
        [
            ((), {"path": "meta.csv", "case": "id"}, "one table 'meta.csv' below the root, found 0"),
            (("meta.csv",), {"path": "meta.csv", "case": "idd"}, "no column 'idd'; did you mean 'id'"),
        ],
    )
    def test_a_split_table_that_does_not_fit_stops_with_a_message(self, paths, table, message):
        with pytest.raises(UsageError, match=message):
            layouts.group(
                source(PER, PER_LABELS, split_table=table),
                listing("a/ct.nii.gz", *paths),
                lambda path: b"id,split\na,test\n",
                KEYS,
            )

    def test_a_case_table_says_what_was_looked_for(self):
        labels = {"labels": {**PER_LABELS["labels"], "looked_for": "per_case_table", "case_table": "looked.csv"}}
        found = layouts.group(
            source(PER, labels),
            listing("a/ct.nii.gz", "a/seg/kidney_left.nii.gz", "looked.csv"),
            lambda path: b"case,kidney_left,hip_bone_right\na,1,0\n",
            KEYS,
        )
        assert found.cases[0].labels[0].looked_for == ("kidney_left",)


class TestMoreImages:
    LAYOUT: ClassVar = {
        "kind": "per-structure",
        "image": {"name": "ct", "modality": "CT", "path": "{case}/ct.nrrd"},
        "more_images": [{"name": "mr", "modality": "MR", "path": "{case}/mr.nrrd"}],
        "structures": "{case}/{structure}.seg.nrrd",
    }
    TABLE: ClassVar = {"labels": {"origin": "expert", "structures": {"liver": "liver"}}}

    def test_they_are_images_of_the_case_and_the_masks_are_not_theirs(self):
        found = layouts.group(
            source(self.LAYOUT, self.TABLE), listing("a/ct.nrrd", "a/mr.nrrd", "a/liver.seg.nrrd"), nothing, KEYS
        )
        (case,) = found.cases
        assert files_of(case) == {
            "image:ct": ["a/ct.nrrd"],
            "image:mr": ["a/mr.nrrd"],
            "label:labels": ["a/liver.seg.nrrd"],
        }
        assert case.labels[0].image == "ct"

    def test_one_that_is_not_optional_must_be_there(self):
        found = layouts.group(source(self.LAYOUT, self.TABLE), listing("a/ct.nrrd"), nothing, KEYS)
        assert [f.reason for f in found.cases[0].faults] == [Reason.MISSING_FILE]

    def test_without_the_first_image_there_is_no_case(self):
        found = layouts.group(source(self.LAYOUT, self.TABLE), listing("a/mr.nrrd", "a/liver.seg.nrrd"), nothing, KEYS)
        assert found.cases == ()
        assert {r.reason for r in found.rejects} == {Reason.NO_IMAGE}
        assert found.counts.balanced()

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ({"name": "ct", "modality": "CT", "path": "{case}/x.nrrd"}, r"images named twice: \['ct'\]"),
            ({"name": "mr", "modality": "MR", "path": "{other}/x.nrrd"}, r"lacks one of the fields \['case'\]"),
        ],
    )
    def test_names_and_fields_are_checked(self, more, message):
        with pytest.raises(ValueError, match=message):
            source({**self.LAYOUT, "more_images": [more]}, self.TABLE)
