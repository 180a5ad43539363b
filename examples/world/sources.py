"""The twelve data sets of the world: a layout, an annotation protocol and a way of writing each; nothing else is shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from examples.phantom.anatomy import GALLBLADDER, ORGANS, TUMOUR

EVERY_STRUCTURE = (*ORGANS, TUMOUR, GALLBLADDER, "kidney", "lung")
"""What any source draws; a source that does not tell sides apart draws `kidney` and `lung`."""


@dataclass(frozen=True)
class WorldSource:
    """A data set.

    Attributes:
        id: its id.
        layout: the `layout:` of its manifest.
        drawn: structures that its labels speak of.
        table: name of its table of labels; empty where it has none.
        by_name: whether its table maps names and not numbers.
        looked_for: what the table says of structures without voxels.
        patient: template of the patient's id.
        orientation: where the stored axes of its own scans point.
        dtype: number type of its images.
        slope_inter: physical = stored * slope + inter, where its format can say so.
        rescaled: (gain, bias) of numbers that are no HU any more: written = HU * gain + bias.
        archives: patterns of its archives.
        share: how many people are its own, for each one of a common data set.
        copies: whether it re-publishes what others scanned.
        namespace: whose patient ids these are; empty: its own.
    """

    id: str
    layout: Mapping[str, Any]
    drawn: tuple[str, ...] = ()
    table: str = ""
    by_name: bool = False
    looked_for: str = "all"
    patient: str | None = "{case}"
    orientation: str = "LPS"
    dtype: str = "int16"
    slope_inter: tuple[float, float] = (0.0, 0.0)
    rescaled: tuple[float, float] = (1.0, 0.0)
    archives: tuple[str, ...] = ()
    share: int = 2
    copies: bool = True
    namespace: str = ""

    def numbers(self) -> dict[str, int]:
        """Structure -> its number in a label map; every source counts in its own way."""
        start, step = 1 + len(self.id) % 5, 1 + len(self.id) % 3
        return {structure: start + step * n for n, structure in enumerate(self.drawn)}

    def manifest(self) -> dict[str, Any]:
        """The source manifest."""
        patient = {"namespace": self.namespace or self.id} | ({"id": self.patient} if self.patient else {})
        made: dict[str, Any] = {
            "id": self.id, "title": f"World: {self.id}", "terms": {"license": "CC-BY-4.0"}, "public_ids": True,
            "patient": patient, "layout": dict(self.layout),
        }  # fmt: skip
        if self.archives:
            made["archives"] = list(self.archives)
        if self.table:
            named = (
                {"structures": {s: s for s in self.drawn}}
                if self.by_name
                else {"values": {0: "background"} | {v: s for s, v in self.numbers().items()}}
            )
            made["labels"] = {self.table: {"origin": "expert", "looked_for": self.looked_for, **named}}
        return made


_CT = {"name": "ct", "modality": "CT"}
_LABEL = {"table": "organs", "image": "ct"}
_KIDNEYS = ("kidney_left", "kidney_right")
_SPINE = ("vertebra_t12", "vertebra_l1", "vertebra_l2")

CLINIC = "world-clinic"
"""Namespace of two sources: a series and a radiograph of one id are one person."""

SERIES = WorldSource(
    "world-series",
    {"kind": "dicom", "path": "dicom/{patient}/{series}/*", "modalities": ["CT"],
     "labels": [{"table": "organs", "image": "ct", "path": "labels/{patient}/{series}.nrrd"}]},
    drawn=tuple(s for s in ORGANS if s != "vertebra_t12"), table="organs", patient=None, namespace=CLINIC, share=1,
)  # fmt: skip
SEG = WorldSource(
    "world-seg", {"kind": "dicom", "path": "**", "segmentations": {"table": "drawn", "kinds": ["SEG"]}},
    drawn=("liver", "spleen", *_KIDNEYS), table="drawn", by_name=True, looked_for="values_present", patient=None, share=1,
)  # fmt: skip
RTSTRUCT = WorldSource(
    "world-rtstruct", {"kind": "dicom", "path": "**", "segmentations": {"table": "drawn", "kinds": ["RTSTRUCT"]}},
    drawn=("liver", TUMOUR, "stomach", "aorta", *_KIDNEYS), table="drawn", by_name=True, patient=None, orientation="LPI", share=1,
)  # fmt: skip
NIFTI = WorldSource(
    "world-nifti",
    {"kind": "paired", "images": [_CT | {"path": "{patient}/{case}/ct.nii.gz"}],
     "labels": [_LABEL | {"path": "{patient}/{case}/organs.nii.gz"}]},
    drawn=("liver", "kidney", "spleen", GALLBLADDER), table="organs", patient="{patient}", orientation="RAS",
    slope_inter=(1.0, -1024.0),
)  # fmt: skip
MHA = WorldSource(
    "world-mha",
    {"kind": "paired", "images": [_CT | {"path": "images/{case}.mha"}], "labels": [_LABEL | {"path": "labels/{case}.mha"}]},
    drawn=("lung_left", "lung_right", "aorta", *_SPINE), table="organs", orientation="LPS",
)  # fmt: skip
NRRD = WorldSource(
    "world-nrrd",
    {"kind": "paired", "images": [_CT | {"path": "{case}/volume.nrrd"}], "labels": [_LABEL | {"path": "{case}/mask.seg.nrrd"}]},
    drawn=("lung", "liver", "kidney"), table="organs", orientation="LAS", dtype="float32", rescaled=(0.5, 700.0),
)  # fmt: skip
MSD = WorldSource(
    "world-msd", {"kind": "msd", "folder": "Task90_World", "channels": [_CT]},
    drawn=("liver", TUMOUR), table="labels", orientation="LAS",
)  # fmt: skip
NNUNET = WorldSource(
    "world-nnunet", {"kind": "nnunet", "folder": "Dataset900_World", "channels": [_CT]},
    drawn=("spleen", *_KIDNEYS, "stomach", "aorta"), table="labels", orientation="PIR", dtype="float32",
    slope_inter=(0.5, -1024.0),
)  # fmt: skip
MASKS = WorldSource(
    "world-masks",
    {"kind": "per-structure", "image": _CT | {"path": "{case}/ct.nii.gz"}, "structures": "{case}/segmentations/{structure}.nii.gz"},
    drawn=(*ORGANS, TUMOUR, GALLBLADDER), table="labels", by_name=True, orientation="RAS",
)  # fmt: skip
ARCHIVES = WorldSource(
    "world-archives",
    {"kind": "paired", "images": [_CT | {"path": "parts/{part}.zip/{case}/ct.nii.gz"}],
     "labels": [_LABEL | {"path": "parts/{part}.zip/{case}/organs.nii.gz"}]},
    drawn=("liver", "spleen", "stomach", "aorta"), table="organs", orientation="LPI", dtype="float32",
    archives=("parts/*.zip",),
)  # fmt: skip
CHANNELS = WorldSource(
    "world-channels",
    {"kind": "paired",
     "images": [{"name": n, "modality": "MR", "sequence": n.upper(), "path": f"{{case}}/{n}.nii.gz"} for n in ("t1", "t2")],
     "labels": [{"table": "organs", "image": "t2", "path": "{case}/organs.nii.gz"}]},
    drawn=("liver", "spleen", *_KIDNEYS), table="organs", orientation="LPS", copies=False,
)  # fmt: skip
TABLE = WorldSource(
    "world-table",
    {"kind": "table", "path": "rows.csv", "images": [{"name": "xray", "modality": "DX", "file": "{File}"}],
     "findings": [{"named": {"Pneumonia": "pneumonia", "Edema": "edema"},
                   "values": {"1": "present", "0": "absent", "-1": "uncertain", "": "unknown"}, "origin": "expert"}]},
    patient="{Patient}", namespace=CLINIC, copies=False,
)  # fmt: skip

SOURCES = (NIFTI, MASKS, SERIES, MSD, SEG, ARCHIVES, MHA, RTSTRUCT, NNUNET, NRRD, CHANNELS, TABLE)
"""All of them; a smaller world has the first few."""
