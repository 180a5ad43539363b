"""Every kind of layout: the registry, DICOM trees, pseudonyms, and that no object of any listing is lost."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdfp.errors import UsageError
from schemas.layouts import LayoutKind
from tests.transforms.layouts.listings import (
    DESCRIBED,
    KEYS,
    MSD,
    MSD_FILES,
    NN_DESCRIBED,
    NNUNET,
    PAIRED,
    PER,
    PER_LABELS,
    listing,
    nothing,
    side_files,
    source,
)
from transforms import layouts


class TestRegistry:
    def test_the_kinds_of_the_schema_are_the_kinds_that_can_be_read(self):
        from typing import get_args

        assert set(layouts.kinds()) == set(get_args(LayoutKind))

    def test_a_second_owner_of_a_kind_is_refused(self):
        with pytest.raises(ValueError, match=r"'paired' is already registered by transforms\.layouts\.paired"):
            layouts.register("paired")(lambda source, listing, read: layouts.Found())

    def test_an_unknown_kind_names_the_nearest(self):
        with pytest.raises(UsageError, match="unknown layout kind 'pared'; did you mean 'paired'"):
            layouts.get("pared")


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
