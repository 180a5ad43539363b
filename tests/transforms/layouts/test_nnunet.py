"""The layout of nnU-Net raw data on listings: who belongs together, what is left out and why."""

from __future__ import annotations

import pytest

from mdfp.errors import UsageError
from schemas.reasons import Reason
from tests.transforms.layouts.listings import (
    KEYS,
    NN_DESCRIBED,
    NN_FILES,
    NNUNET,
    files_of,
    listing,
    reasons,
    side_files,
    source,
)
from transforms import layouts


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
