"""Every layout on listings: who belongs together, what is left out and why, and that no object is lost."""

from __future__ import annotations

import json
import random
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdfp.errors import UsageError
from schemas.reasons import Reason
from schemas.source import Source
from transforms import layouts
from transforms.pseudonym import PatientKeys
from transforms.rejected import Rejected
from transforms.store import ListedObject

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
VALUES = {"origin": "expert", "values": {0: "background", 1: "spleen"}}


def listing(*paths):
    return [ListedObject(p, 10, "v1") for p in paths]


def source(layout, labels=None, **more):
    content = {
        "id": "toy",
        "title": "Toy",
        "public_ids": True,
        "patient": {"namespace": "toy"},
        "layout": layout,
        "labels": {"labels": VALUES} if labels is None else labels,
    }
    return Source.model_validate({**content, **more})


def side_files(**files):
    """A reader of small side files; names are given without their end."""
    contents = {f"{name}.json": json.dumps(content).encode() for name, content in files.items()}

    def read(path):
        if path not in contents:
            raise Rejected(Reason.MISSING_FILE, "not there")
        return contents[path]

    return read


def nothing(path):
    raise Rejected(Reason.MISSING_FILE, "not there")


def reasons(grouped):
    return [(r.reason, r.path) for r in grouped.rejects]


def files_of(case):
    return {a.record_name: [o.path for o, _ in a.objects] for a in case.arrays}


PAIRED = {
    "kind": "paired",
    "images": [{"name": "ct", "modality": "CT", "path": "images/{case}.nii.gz"}],
    "labels": [{"table": "labels", "image": "ct", "path": "labels/{case}_mask.nii.gz"}],
}


class TestRegistry:
    def test_the_kinds_of_the_schema_are_the_kinds_that_can_be_read(self):
        from typing import get_args

        from schemas.layouts import LayoutKind

        assert set(layouts.kinds()) == set(get_args(LayoutKind))

    def test_a_second_owner_of_a_kind_is_refused(self):
        with pytest.raises(ValueError, match=r"'paired' is already registered by transforms\.layouts\.paired"):
            layouts.register("paired")(lambda source, listing, read: layouts.Found())

    def test_an_unknown_kind_names_the_nearest(self):
        with pytest.raises(UsageError, match="unknown layout kind 'pared'; did you mean 'paired'"):
            layouts.get("pared")


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


MSD = {"kind": "msd", "folder": "Task", "channels": [{"name": "ct", "modality": "CT"}]}
DESCRIBED = {
    "modality": {"0": "CT"},
    "training": [{"image": "./imagesTr/s_1.nii.gz", "label": "./labelsTr/s_1.nii.gz"}],
    "test": ["./imagesTs/s_2.nii.gz"],
}
MSD_FILES = ("Task/dataset.json", "Task/imagesTr/s_1.nii.gz", "Task/labelsTr/s_1.nii.gz", "Task/imagesTs/s_2.nii.gz")


class TestMsd:
    def read(self, **changes):
        return side_files(**{"Task/dataset": {**DESCRIBED, **changes}})

    def test_training_pairs_and_unlabelled_test_images_are_cases(self):
        found = layouts.group(source(MSD), listing(*MSD_FILES), self.read(), KEYS)
        assert [(c.name, c.split, len(c.labels)) for c in found.cases] == [("s_1", "train", 1), ("s_2", "test", 0)]
        assert all(c.faults == () for c in found.cases)
        assert found.counts.side == 1

    def test_the_root_may_be_the_folder_itself(self):
        files = [p.removeprefix("Task/") for p in MSD_FILES]
        found = layouts.group(source(MSD), listing(*files), side_files(dataset=DESCRIBED), KEYS)
        assert [c.name for c in found.cases] == ["s_1", "s_2"]

    def test_test_images_that_are_not_asked_for_are_passed_over(self):
        found = layouts.group(source({**MSD, "test_images": False}), listing(*MSD_FILES), self.read(), KEYS)
        assert [c.name for c in found.cases] == ["s_1"]
        assert found.counts.side == 2
        assert found.rejects == ()

    def test_a_promised_label_that_is_missing_is_a_label_fault(self):
        found = layouts.group(source(MSD), listing(*MSD_FILES[:2], MSD_FILES[3]), self.read(), KEYS)
        case = found.cases[0]
        assert case.labels == ()
        assert [(f.reason, f.concerns) for f in case.faults] == [(Reason.MISSING_LABEL, "label")]

    def test_a_promised_image_that_is_missing_is_a_reject(self):
        found = layouts.group(source(MSD), listing(*MSD_FILES[:3]), self.read(), KEYS)
        assert reasons(found) == [(Reason.MISSING_FILE, "Task/imagesTs/s_2.nii.gz")]
        found = layouts.group(source(MSD), listing(MSD_FILES[0], *MSD_FILES[2:]), self.read(), KEYS)
        assert reasons(found) == [(Reason.NO_IMAGE, "Task/labelsTr/s_1.nii.gz")]

    def test_an_image_that_dataset_json_does_not_list_is_a_reject(self):
        found = layouts.group(source(MSD), listing(*MSD_FILES, "Task/imagesTr/s_9.nii.gz"), self.read(), KEYS)
        assert reasons(found) == [(Reason.UNMATCHED, "Task/imagesTr/s_9.nii.gz")]

    def test_an_image_listed_twice_counts_once(self):
        twice = self.read(training=DESCRIBED["training"] * 2)
        found = layouts.group(source(MSD), listing(*MSD_FILES), twice, KEYS)
        assert [c.name for c in found.cases] == ["s_1", "s_2"]
        assert reasons(found) == [(Reason.CONFLICTING_FILES, None)]

    def test_a_source_without_tables_leaves_labels_aside(self):
        found = layouts.group(source(MSD, labels={}), listing(*MSD_FILES), self.read(), KEYS)
        assert all(c.labels == () and c.faults == () for c in found.cases)
        assert found.counts.side == 2

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"modality": {"0": "T1", "1": "T2"}}, r"dataset.json has 2 channels \(T1, T2\), layout.channels .* has 1"),
            ({"training": "all"}, "expected lists under 'training' and 'test'"),
            ({"training": [{"label": "x"}]}, "expected a path"),
            ({"training": [{"image": "../../etc/passwd"}]}, "leads out of its folder"),
        ],
    )
    def test_a_dataset_json_that_does_not_fit_stops_with_a_message(self, change, message):
        with pytest.raises(UsageError, match=message):
            layouts.group(source(MSD), listing(*MSD_FILES), self.read(**change), KEYS)

    def test_no_dataset_json_asks_whether_the_root_is_right(self):
        with pytest.raises(
            UsageError, match=r"no dataset.json at 'Task/dataset.json' or 'dataset.json' .* --root SOURCE="
        ):
            layouts.group(source(MSD), listing("imagesTr/s_1.nii.gz"), nothing, KEYS)

    def test_several_channels_are_volumes_of_one_file(self):
        layout = {**MSD, "channels": [{"name": "t1", "modality": "MR"}, {"name": "t2", "modality": "MR"}]}
        read = self.read(modality={"0": "T1", "1": "T2"})
        found = layouts.group(source(layout), listing(*MSD_FILES), read, KEYS)
        for case in found.cases:
            assert [(a.name, a.component, a.components) for a in case.images] == [("t1", 0, 2), ("t2", 1, 2)]
            assert len({o.path for a in case.images for o, _ in a.objects}) == 1
            assert [(a.image, a.component) for a in case.labels] in ([], [("t1", None)])
            assert case.faults == ()
        assert found.counts.balanced()
        assert found.counts.in_cases == len(MSD_FILES) - 1  # each file once, and dataset.json aside


NNUNET = {
    "kind": "nnunet",
    "channels": [{"name": "t1", "modality": "MR"}, {"name": "flair", "modality": "MR"}],
}
NN_DESCRIBED = {"channel_names": {"0": "T1", "1": "FLAIR"}, "file_ending": ".nrrd", "numTraining": 1}
NN_FILES = (
    "dataset.json",
    "imagesTr/p_1_0000.nrrd",
    "imagesTr/p_1_0001.nrrd",
    "labelsTr/p_1.nrrd",
    "imagesTs/p_2_0000.nrrd",
    "imagesTs/p_2_0001.nrrd",
)


class TestNnunet:
    read = staticmethod(side_files(dataset=NN_DESCRIBED))

    def test_channels_become_images_in_order(self):
        found = layouts.group(source(NNUNET), listing(*NN_FILES), self.read, KEYS)
        assert [(c.name, c.split) for c in found.cases] == [("p_1", "train"), ("p_2", "test")]
        assert files_of(found.cases[0]) == {
            "image:t1": ["imagesTr/p_1_0000.nrrd"],
            "image:flair": ["imagesTr/p_1_0001.nrrd"],
            "label:labels": ["labelsTr/p_1.nrrd"],
        }
        assert found.rejects == ()

    @pytest.mark.parametrize(
        ("missing", "reason", "concerns"),
        [
            ("imagesTr/p_1_0001.nrrd", Reason.MISSING_FILE, "case"),
            ("labelsTr/p_1.nrrd", Reason.MISSING_LABEL, "label"),
        ],
    )
    def test_a_missing_channel_or_label_is_a_fault(self, missing, reason, concerns):
        found = layouts.group(source(NNUNET), listing(*(p for p in NN_FILES if p != missing)), self.read, KEYS)
        assert [(f.reason, f.concerns) for f in found.cases[0].faults] == [(reason, concerns)]

    def test_a_channel_beyond_the_manifest_is_a_fault(self):
        found = layouts.group(source(NNUNET), listing(*NN_FILES, "imagesTr/p_1_0002.nrrd"), self.read, KEYS)
        assert [f.reason for f in found.cases[0].faults] == [Reason.CONFLICTING_FILES]
        assert "channels [2]" in found.cases[0].faults[0].detail

    def test_a_label_without_image_is_a_reject(self):
        found = layouts.group(source(NNUNET), listing(*NN_FILES, "labelsTr/p_7.nrrd"), self.read, KEYS)
        assert reasons(found) == [(Reason.NO_IMAGE, "labelsTr/p_7.nrrd")]

    def test_fewer_training_cases_than_promised_are_noticed(self):
        read = side_files(dataset={**NN_DESCRIBED, "numTraining": 3})
        found = layouts.group(source(NNUNET), listing(*NN_FILES), read, KEYS)
        assert reasons(found) == [(Reason.MISSING_FILE, None)]
        assert "counts 3 training cases, 1 are there" in found.rejects[0].detail

    def test_version_1_names_the_missing_case(self):
        training = [{"image": "./imagesTr/p_1.nrrd"}, {"image": "./imagesTr/p_8.nrrd"}]
        read = side_files(dataset={**NN_DESCRIBED, "training": training})
        found = layouts.group(source(NNUNET), listing(*NN_FILES), read, KEYS)
        assert reasons(found) == [(Reason.MISSING_FILE, "imagesTr/p_8.nrrd")]

    def test_another_ending_is_a_reject(self):
        found = layouts.group(source(NNUNET), listing(*NN_FILES, "imagesTr/p_3_0000.nii.gz"), self.read, KEYS)
        assert reasons(found) == [(Reason.UNMATCHED, "imagesTr/p_3_0000.nii.gz")]

    def test_files_listed_by_case_are_refused(self):
        read = side_files(dataset={**NN_DESCRIBED, "dataset": {}})
        with pytest.raises(UsageError, match="describe such a set with kind: paired"):
            layouts.group(source(NNUNET), listing(*NN_FILES), read, KEYS)


PER = {
    "kind": "per-structure",
    "image": {"name": "ct", "modality": "CT", "path": "{case}/ct.nii.gz"},
    "structures": "{case}/seg/{structure}.nii.gz",
}
PER_LABELS = {
    "labels": {
        "origin": "model",
        "structures": {"kidney_left": "kidney_left", "hip_right": "hip_bone_right", "junk": "background"},
    }
}


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


class TestDicom:
    LAYOUT = {  # noqa: RUF012 (never changed)
        "kind": "dicom",
        "path": "{case}/CT/**",
        "labels": [{"table": "labels", "image": "ct", "path": "{case}/liver.nrrd"}],
    }

    def test_instances_and_labels_of_equal_fields_are_read_together(self):
        found = layouts.group(
            source(self.LAYOUT), listing("p/CT/1", "p/CT/2.dcm", "p/liver.nrrd", "q/CT/1", "q/notes.txt"), nothing, KEYS
        )
        groups = {}
        for h in found.headers:
            groups.setdefault(h.group, []).append((h.object.path, h.label))
        assert sorted(groups.values()) == [
            [("p/CT/1", None), ("p/CT/2.dcm", None), ("p/liver.nrrd", 0)],
            [("q/CT/1", None)],
        ]
        assert found.counts.to_read == 4
        assert found.counts.side == 1

    def test_without_fields_the_header_alone_tells_the_group(self):
        found = layouts.group(source({"kind": "dicom"}, labels={}), listing("x/1", "y/z/2"), nothing, KEYS)
        assert {h.group for h in found.headers} == {""}


def test_paths_of_a_source_without_public_names_are_pseudonyms():
    private = source(PAIRED, public_ids=False)
    found = layouts.group(private, listing("labels/mueller_mask.nii.gz", "mueller.nii.gz"), nothing, KEYS)
    assert len(found.rejects) == 2
    assert not any("mueller" in f"{r.path}{r.detail}{r.case_id}" for r in found.rejects)
    unknown = layouts.group(
        source(PER, PER_LABELS, public_ids=False), listing("m/ct.nii.gz", "m/seg/mueller.nii.gz"), nothing, KEYS
    )
    assert "mueller" not in unknown.cases[0].faults[0].detail


@given(st.permutations([*MSD_FILES, "Task/imagesTr/s_9.nii.gz", "Task/._x", "Task/labelsTr/s_1.nii.gz.md5"]))
def test_the_order_of_a_listing_does_not_matter(order):
    read = side_files(**{"Task/dataset": DESCRIBED})
    assert layouts.group(source(MSD), listing(*order), read, KEYS) == layouts.group(
        source(MSD), listing(*sorted(order)), read, KEYS
    )


PATHS = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["images/", "labels/", "a/", "a/seg/", "imagesTr/", "labelsTr/", "Task/imagesTr/", ""]),
        st.sampled_from(["a", "b_mask", "ct", "kidney_left", "s_1", "s_1_0000", "._a", "dataset", "README"]),
        st.sampled_from([".nii.gz", ".nrrd", ".mhd", ".raw", ".json", ".dcm", ""]),
    ),
    unique=True,
    max_size=25,
)


@given(PATHS, st.sampled_from(["paired", "per-structure", "msd", "nnunet", "dicom"]))
def test_every_object_of_any_listing_is_accounted_for(paths, kind):
    made = {
        "paired": source(PAIRED),
        "per-structure": source(PER, PER_LABELS),
        "msd": source(MSD),
        "nnunet": source(NNUNET),
        "dicom": source(TestDicom.LAYOUT),
    }[kind]
    described = NN_DESCRIBED if kind == "nnunet" else DESCRIBED
    files = listing(*paths)
    random.Random(1).shuffle(files)
    found = layouts.group(made, files, lambda path: json.dumps(described).encode(), KEYS)
    assert found.counts.listed == len(paths)
    assert found.counts.balanced()
    placed = [o.path for c in found.cases for o in c.objects]
    assert len(placed) == len(set(placed))
