"""Listings of every layout, sources that read them, and what to ask of the cases that come out. For tests."""

from __future__ import annotations

import json

from schemas.reasons import Reason
from schemas.source import Source
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

MSD = {"kind": "msd", "folder": "Task", "channels": [{"name": "ct", "modality": "CT"}]}
DESCRIBED = {
    "modality": {"0": "CT"},
    "training": [{"image": "./imagesTr/s_1.nii.gz", "label": "./labelsTr/s_1.nii.gz"}],
    "test": ["./imagesTs/s_2.nii.gz"],
}
MSD_FILES = ("Task/dataset.json", "Task/imagesTr/s_1.nii.gz", "Task/labelsTr/s_1.nii.gz", "Task/imagesTs/s_2.nii.gz")

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
