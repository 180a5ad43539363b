"""The layout of the Medical Segmentation Decathlon on listings: who belongs together, what is left out and why."""

from __future__ import annotations

import pytest

from mdfp.errors import UsageError
from schemas.reasons import Reason
from tests.transforms.layouts.listings import (
    DESCRIBED,
    KEYS,
    MSD,
    MSD_FILES,
    listing,
    nothing,
    reasons,
    side_files,
    source,
)
from transforms import layouts


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
