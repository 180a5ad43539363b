"""`nnunet`: nnU-Net raw data: imagesTr/<case>_<channel>.<ending>, labelsTr/<case>.<ending>, imagesTs, dataset.json.

Format: nnU-Net, documentation/dataset_format.md (version 2; a version 1 dataset.json with `modality` is read too).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mdfp.errors import UsageError
from schemas.layouts import NnunetLayout
from schemas.reasons import Reason
from schemas.source import Source
from transforms.layouts import dataset_json
from transforms.layouts.case_files import ArrayFiles, CaseFiles, Fault, Found
from transforms.layouts.listing import unmatched
from transforms.layouts.registry import Read, register
from transforms.store import ListedObject

_FOLDERS = {"imagesTr": "train", "imagesTs": "test"}


@register("nnunet")
def nnunet(source: Source, listing: Sequence[ListedObject], read: Read) -> Found:
    """Cases of an nnU-Net raw folder. Every training case must have all channels and a label."""
    layout = source.layout
    if not isinstance(layout, NnunetLayout):
        raise TypeError(f"expected an nnunet layout, found {layout.kind}")
    prefix, described = dataset_json.load(layout.folder, read)
    dataset_json.check_channels(described, layout.channels)
    if "dataset" in described:
        raise UsageError(
            "dataset.json has a 'dataset' key (files listed by case); describe such a set with kind: paired"
        )
    ending = str(described.get("file_ending", ".nii.gz"))

    images: dict[tuple[str, str], dict[int, ListedObject]] = {}
    labels: dict[tuple[str, str], ListedObject] = {}
    rest: list[ListedObject] = []
    name = re.compile(rf"(?:(images)(Tr|Ts)/(.+)_(\d{{4}})|(labels)(Tr|Ts)/(.+)){re.escape(ending)}\Z")
    for o in listing:
        found = name.match(o.path.removeprefix(prefix)) if o.path.startswith(prefix) else None
        if found is None:
            rest.append(o)
        elif found[1]:
            images.setdefault((f"images{found[2]}", found[3]), {})[int(found[4])] = o
        else:
            labels[f"images{found[6]}", found[7]] = o

    cases: list[CaseFiles] = []
    faults: list[Fault] = []
    passed_over: list[ListedObject] = []
    for folder, case in sorted(images.keys() | labels.keys()):
        files, label = images.get((folder, case), {}), labels.get((folder, case))
        if folder == "imagesTs" and not layout.test_images:
            passed_over += [*files.values(), *([label] if label else [])]
            continue
        if label is not None and not source.labels:
            passed_over.append(label)
            label = None
        if files:
            cases.append(_case(source, layout, folder, case, files, label))
        elif label is not None:
            detail = f"no image for this label: expected {folder}/<case>_0000{ending}"
            faults.append(Fault(Reason.NO_IMAGE, detail, label.path, "object"))
    faults += _promised(prefix, described, ending, images)
    return Found(tuple(cases), (*faults, *unmatched(rest)), (), tuple(passed_over))


def _case(
    source: Source,
    layout: NnunetLayout,
    folder: str,
    case: str,
    files: dict[int, ListedObject],
    label: ListedObject | None,
) -> CaseFiles:
    faults: list[Fault] = []
    expected = set(range(len(layout.channels)))
    if missing := sorted(expected - set(files)):
        detail = f"channels {missing} are not there: expected {len(expected)}, found {sorted(files)}"
        faults.append(Fault(Reason.MISSING_FILE, detail, None, "case"))
    if extra := sorted(set(files) - expected):
        detail = f"channels {extra} are not in the manifest, which has {len(expected)}"
        faults.append(Fault(Reason.CONFLICTING_FILES, detail, files[extra[0]].path, "case"))
    if folder == "imagesTr" and label is None and source.labels:
        detail = "a training image without a label: expected labelsTr/<case> of the same name"
        faults.append(Fault(Reason.MISSING_LABEL, detail, None, "label"))
    images = []
    for number, o in sorted(files.items()):
        known = number in expected
        channel = layout.channels[number if known else 0]
        images.append(ArrayFiles(channel.name if known else f"channel{number}", ((o, None),), channel=channel))
    labels: tuple[ArrayFiles, ...] = ()
    if label is not None:
        labels = (ArrayFiles(layout.table, ((label, None),), table=layout.table, image=layout.channels[0].name),)
    return CaseFiles(
        source=source.id,
        name=case,
        fields=(("case", case),),
        images=tuple(images),
        labels=labels,
        split=_FOLDERS[folder],
        faults=tuple(faults),
    )


def _promised(
    prefix: str, described: dict[str, Any], ending: str, images: dict[tuple[str, str], dict[int, ListedObject]]
) -> list[Fault]:
    """Faults for training cases that dataset.json promises and that are not there."""
    there = {case for folder, case in images if folder == "imagesTr"}
    training = described.get("training")
    if isinstance(training, list):  # version 1 names them: {"image": "./imagesTr/x.nii.gz", "label": …}, no channel
        faults = []
        for entry in training:
            path = dataset_json.relative(prefix, entry.get("image") if isinstance(entry, dict) else entry)
            case = path.rsplit("/", 1)[-1].removesuffix(ending)
            if case not in there and re.sub(r"_\d{4}\Z", "", case) not in there:
                faults.append(
                    Fault(Reason.MISSING_FILE, "dataset.json lists this image and it is not there", path, "object")
                )
        return faults
    promised = described.get("numTraining")
    if isinstance(promised, int) and promised > len(there):
        detail = f"dataset.json counts {promised} training cases, {len(there)} are there"
        return [Fault(Reason.MISSING_FILE, detail, None, "object")]
    return []
