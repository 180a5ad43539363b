"""Images and labels joined by fields of their paths, and frames of 4-D files: who belongs together, what is left out and why."""

from __future__ import annotations

import pytest

from mdfp.errors import UsageError
from schemas.reasons import Reason
from tests.transforms.layouts.listings import (
    KEYS,
    MSD,
    PAIRED,
    files_of,
    listing,
    nothing,
    reasons,
    source,
)
from transforms import layouts


class TestPaired:
    def test_images_and_labels_of_equal_fields_are_one_case(self):
        found = layouts.group(
            source(PAIRED),
            listing("images/b.nii.gz", "labels/a_mask.nii.gz", "images/a.nii.gz", "README.md"),
            nothing,
            KEYS,
        )
        assert [c.name for c in found.cases] == ["a", "b"]
        assert files_of(found.cases[0]) == {"image:ct": ["images/a.nii.gz"], "label:labels": ["labels/a_mask.nii.gz"]}
        assert found.cases[1].labels == ()
        assert found.rejects == ()
        assert (found.counts.in_cases, found.counts.side) == (3, 1)

    def test_a_label_without_image_is_a_reject(self):
        found = layouts.group(source(PAIRED), listing("labels/a_mask.nii.gz"), nothing, KEYS)
        assert found.cases == ()
        assert reasons(found) == [(Reason.NO_IMAGE, "labels/a_mask.nii.gz")]
        assert "expected images/{case}.nii.gz" in found.rejects[0].detail

    def test_a_required_label_that_is_missing_is_a_label_fault(self):
        layout = {**PAIRED, "labels": [{**PAIRED["labels"][0], "required": True}]}
        (case,) = layouts.group(source(layout), listing("images/a.nii.gz"), nothing, KEYS).cases
        assert [(f.reason, f.concerns) for f in case.faults] == [(Reason.MISSING_LABEL, "label")]

    def test_a_missing_image_of_several_is_a_fault_unless_it_is_optional(self):
        t1 = {"name": "t1", "modality": "MR", "path": "{case}_t1.nii.gz"}
        t2 = {"name": "t2", "modality": "MR", "path": "{case}_t2.nii.gz"}
        files = listing("a_t1.nii.gz")
        (case,) = layouts.group(source({"kind": "paired", "images": [t1, t2]}), files, nothing, KEYS).cases
        assert [(f.reason, f.concerns) for f in case.faults] == [(Reason.MISSING_FILE, "case")]
        assert "no file for the image 't2'" in case.faults[0].detail
        optional = {"kind": "paired", "images": [t1, {**t2, "optional": True}]}
        (case,) = layouts.group(source(optional), files, nothing, KEYS).cases
        assert case.faults == ()

    def test_two_files_for_one_role_are_a_fault_of_the_case(self):
        layout = {"kind": "paired", "images": [{"name": "ct", "modality": "CT", "path": "**/{case}.nii.gz"}]}
        (case,) = layouts.group(source(layout), listing("x/a.nii.gz", "y/a.nii.gz"), nothing, KEYS).cases
        assert [(f.reason, f.concerns) for f in case.faults] == [(Reason.CONFLICTING_FILES, "case")]
        assert "2 files claim to be the image 'ct' of one case" in case.faults[0].detail
        assert len(case.objects) == 2

    def test_the_pattern_with_more_literal_text_claims_a_file(self):
        layout = {
            "kind": "paired",
            "images": [{"name": "ct", "modality": "CT", "path": "{case}.nii.gz"}],
            "labels": [{"table": "labels", "image": "ct", "path": "{case}_seg.nii.gz"}],
        }
        (case,) = layouts.group(source(layout), listing("a.nii.gz", "a_seg.nii.gz"), nothing, KEYS).cases
        assert files_of(case) == {"image:ct": ["a.nii.gz"], "label:labels": ["a_seg.nii.gz"]}

    def test_patterns_that_cannot_be_told_apart_are_refused(self):
        images = [
            {"name": "t1", "modality": "MR", "path": "{case}_{a}.nii"},
            {"name": "t2", "modality": "MR", "path": "{case}_{b}.nii"},
        ]
        with pytest.raises(UsageError, match="claim the same file; make one of them more specific"):
            layouts.group(source({"kind": "paired", "images": images}), listing("p_x.nii"), nothing, KEYS)

    def test_voxels_beside_a_metaimage_header_belong_to_it(self):
        layout = {"kind": "paired", "images": [{"name": "ct", "modality": "CT", "path": "subset{n}/{case}.mhd"}]}
        found = layouts.group(
            source(layout), listing("subset0/a.mhd", "subset0/a.zraw", "subset0/b.raw"), nothing, KEYS
        )
        (case,) = found.cases
        assert case.name == "0_a"
        assert [o.path for o in case.objects] == ["subset0/a.mhd", "subset0/a.zraw"]
        assert reasons(found) == [(Reason.UNMATCHED, "subset0/b.raw")]

    def test_labels_of_two_images_that_share_a_table_have_two_names(self):
        layout = {
            "kind": "paired",
            "images": [
                {"name": "ct", "modality": "CT", "path": "{case}_ct.nii.gz"},
                {"name": "mr", "modality": "MR", "path": "{case}_mr.nii.gz"},
            ],
            "labels": [
                {"table": "labels", "image": "ct", "path": "{case}_ct_seg.nii.gz"},
                {"table": "labels", "image": "mr", "path": "{case}_mr_seg.nii.gz"},
            ],
        }
        files = listing("a_ct.nii.gz", "a_mr.nii.gz", "a_ct_seg.nii.gz", "a_mr_seg.nii.gz")
        (case,) = layouts.group(source(layout), files, nothing, KEYS).cases
        assert [(a.name, a.image) for a in case.labels] == [("labels_ct", "ct"), ("labels_mr", "mr")]

    def test_a_label_whose_optional_image_is_absent_is_a_label_fault(self):
        layout = {
            "kind": "paired",
            "images": [
                {"name": "ct", "modality": "CT", "path": "{case}_ct.nii.gz"},
                {"name": "mr", "modality": "MR", "path": "{case}_mr.nii.gz", "optional": True},
            ],
            "labels": [{"table": "labels", "image": "mr", "path": "{case}_seg.nii.gz"}],
        }
        (case,) = layouts.group(source(layout), listing("a_ct.nii.gz", "a_seg.nii.gz"), nothing, KEYS).cases
        assert [(f.reason, f.concerns) for f in case.faults] == [(Reason.NO_IMAGE, "label")]

    def test_macos_twins_are_looked_past(self):
        found = layouts.group(source(PAIRED), listing("images/a.nii.gz", "images/._a.nii.gz", "._x"), nothing, KEYS)
        assert len(found.cases) == 1
        assert found.counts.skipped == 2
        assert found.rejects == ()

    def test_what_no_pattern_asks_for_is_a_reject_unless_it_holds_no_image(self):
        files = listing("images/a.nii.gz", "extra.nii.gz", "data.zip", "LICENSE", "meta.csv", ".DS_Store")
        found = layouts.group(source(PAIRED), files, nothing, KEYS)
        assert reasons(found) == [(Reason.UNMATCHED, "data.zip"), (Reason.UNMATCHED, "extra.nii.gz")]
        assert found.counts.side == 3

    def test_names_that_a_key_cannot_tell_apart_get_pseudonyms(self):
        found = layouts.group(
            source(PAIRED), listing("images/A.nii.gz", "images/a.nii.gz", "images/b.nii.gz"), nothing, KEYS
        )
        assert {c.name: c.readable for c in found.cases} == {"A": False, "a": False, "b": True}


FRAMES = {
    "kind": "paired",
    "images": [{"name": "mr", "modality": "MR", "path": "{code}/{code}_sa.nii.gz"}],
    "labels": [{"table": "labels", "image": "mr", "path": "{code}/{code}_sa_gt.nii.gz"}],
}
FRAME_FILES = ("A1/A1_sa.nii.gz", "A1/A1_sa_gt.nii.gz", "B2/B2_sa.nii.gz", "info.csv")


class TestFrames:
    def found(self, table, **more):
        def read(path):
            return table.encode()

        frames = {"path": "*.csv", "column": "code", "frames": {"ed": "ED", "es": "ES"}, **more}
        return layouts.group(source(FRAMES, frames=frames), listing(*FRAME_FILES), read, KEYS)

    def test_each_frame_of_the_table_is_a_case_of_the_same_files(self):
        found = self.found("code;ED;ES\nA1;0;7\nB2;2;1\n")
        assert [(c.name, [a.component for a in c.arrays]) for c in found.cases] == [
            ("A1_ed", [0, 0]),
            ("A1_es", [7, 7]),
            ("B2_ed", [2]),
            ("B2_es", [1]),
        ]
        assert found.counts.balanced()
        assert found.counts.in_cases == 3

    @pytest.mark.parametrize("row", ["", "B2;;1", "B2;two;1", "B2;-1;1", "B2;1.0;2"])
    def test_a_case_whose_frames_the_table_does_not_tell_is_a_fault(self, row):
        found = self.found(f"code;ED;ES\nA1;0;7\n{row}\n")
        (broken,) = [c for c in found.cases if c.faults]
        assert broken.name == "B2"
        assert [(f.reason, f.concerns) for f in broken.faults] == [(Reason.MISSING_LABEL, "case")]

    def test_a_column_that_is_not_there_stops_with_a_message(self):
        with pytest.raises(UsageError, match="no column 'ES'"):
            self.found("code;ED\nA1;0\n")

    def test_frames_are_for_paired_files(self):
        with pytest.raises(ValueError, match="frames: is for kind: paired, found msd"):
            source(MSD, frames={"path": "*.csv", "column": "code", "frames": {"ed": "ED"}})
