"""Guess the source manifest of a folder of one's own from its file names and a few headers.

A guess is a draft: every doubtful point becomes a remark, and what a label's numbers mean is never invented.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import yaml

from mdfp.errors import UsageError
from schemas import ontology
from schemas.ontology.structures import BACKGROUND
from schemas.recipe import Limits
from schemas.source import Source
from transforms.pseudonym import slug
from transforms.read import array as read_arrays
from transforms.read.array import Blob, format_of
from transforms.rejected import Rejected
from transforms.store import ListedObject, SourceStore

SAMPLED_FILES = 3
"""Images and labels that are looked into; enough to tell CT from MR and to see most label values."""

_LABEL_WORDS = re.compile(
    r"^(labels?(tr|ts)?|masks?|segs?|segmentations?|annotations?|gt|ground_?truth)$", re.IGNORECASE
)
_LABEL_SUFFIX = re.compile(r"([_-](label|labels|seg|segmentation|mask|gt))$", re.IGNORECASE)
_CHANNEL_SUFFIX = re.compile(r"_\d{4}$")
_MODALITY_WORDS = {
    "CT": "CT", "CTA": "CT", "CBCT": "CT", "MR": "MR", "MRI": "MR", "T1": "MR", "T2": "MR", "T1W": "MR", "T2W": "MR", "FLAIR": "MR",
    "ADC": "MR", "DWI": "MR", "PET": "PT", "PT": "PT", "SUV": "PT", "US": "US",
}  # fmt: skip
CT_AIR = -500
"""An image with values below this (HU) is taken for CT: nothing else stores air as a large negative number."""


@dataclass(frozen=True)
class Draft:
    """A guessed manifest.

    Attributes:
        manifest: content of the source manifest; it validates.
        modalities: modalities of its images.
        remarks: what was found and what to check, for a person.
        labelled: whether the manifest has label tables.
    """

    manifest: dict[str, Any]
    modalities: tuple[str, ...]
    remarks: tuple[str, ...]
    labelled: bool


def draft_source(store: SourceStore, name: str) -> Draft:
    """Guess the manifest of a folder.

    Args:
        store: the folder.
        name: id of the source.

    Raises:
        UsageError: no image of a known format lies there.
    """
    listing = [o for o in store.list() if not PurePosixPath(o.path).name.startswith(".")]
    remarks: list[str] = []
    base: dict[str, Any] = {
        "id": name,
        "title": name,
        "terms": {"license": "own-data"},
        "public_ids": False,
        "patient": {"namespace": name},
    }
    found = (
        _dataset_json(store, listing, remarks)
        or _per_structure(store, listing, remarks)
        or _paired(store, listing, remarks)
        or _dicom(store, listing, remarks)
    )
    if found is None:
        raise UsageError(
            f"{store.root}: no DICOM, NIfTI, MHA, MHD or NRRD file found among {len(listing)} files; "
            "give the folder that holds the images"
        )
    manifest = base | found
    source = Source.model_validate(manifest)
    if source.layout.kind != "dicom":
        remarks.append(
            "check: every case is taken for a patient of its own; where a patient has several, say so with patient.id (for "
            "example {patient}, with a field of that name in the paths), or training and test data may share patients"
        )
    modalities = sorted({i["modality"] for i in _channels(found["layout"])} or {"CT", "MR"})
    return Draft(manifest, tuple(modalities), tuple(remarks), bool(source.labels))


def _channels(layout: Mapping[str, Any]) -> list[dict[str, Any]]:
    if layout["kind"] == "per-structure":
        return [layout["image"]]
    return list(layout.get("images") or layout.get("channels") or [])


# One guess for each layout; the first that fits is taken.


def _dataset_json(store: SourceStore, listing: Sequence[ListedObject], remarks: list[str]) -> dict[str, Any] | None:
    paths = [o.path for o in listing if PurePosixPath(o.path).name == "dataset.json"]
    if len(paths) != 1:
        return None
    folder = str(PurePosixPath(paths[0]).parent)
    folder = "" if folder == "." else folder
    try:
        content = json.loads(store.read(paths[0]))
    except (ValueError, RecursionError) as error:
        remarks.append(f"check: {paths[0]} is no JSON ({error}); it was passed over")
        return None
    if not _describes_data(content):
        remarks.append(f"check: {paths[0]} is none of the Decathlon or of nnU-Net; it was passed over")
        return None
    nnunet = "channel_names" in content
    names = content.get("channel_names") or content.get("modality") or {"0": "image"}
    channels = []
    for number, channel in sorted(names.items(), key=lambda item: int(item[0])):
        modality = _MODALITY_WORDS.get(str(channel).upper().split("_")[0].split("-")[0])
        if modality is None:
            remarks.append(f"check: channel {number} is called {channel!r}; MR was assumed")
            modality = "MR"
        word = (slug(str(channel)) or f"channel{number}").replace("-", "_")[:24]
        channels.append({"name": word, "modality": modality, "sequence": str(channel) if modality == "MR" else None})
    labels = content.get("labels", {})
    # MSD writes value -> name, nnU-Net name -> value.
    named = (
        {int(v): k for k, v in labels.items() if str(v).isdecimal()}
        if nnunet
        else {int(k): v for k, v in labels.items()}
    )
    table = _table(named, remarks)
    layout = {"kind": "nnunet" if nnunet else "msd", "folder": folder, "channels": channels}
    remarks.insert(0, f"found a dataset.json: layout {layout['kind']}, {len(channels)} channels")
    return {"layout": layout, "labels": {"labels": table}} if table else {"layout": layout}


def _describes_data(content: object) -> bool:
    """Whether JSON has the shape of a dataset.json: channels by number, labels by number (MSD) or by name (nnU-Net)."""
    if not isinstance(content, dict):
        return False
    channels = content.get("channel_names") or content.get("modality") or {}
    labels = content.get("labels", {})
    numbered = isinstance(channels, dict) and all(str(k).isdecimal() for k in channels)
    return (
        numbered
        and isinstance(labels, dict)
        and ("channel_names" in content or all(str(k).isdecimal() for k in labels))
    )


def _per_structure(store: SourceStore, listing: Sequence[ListedObject], remarks: list[str]) -> dict[str, Any] | None:
    folders = Counter(str(PurePosixPath(o.path).parent) for o in listing if format_of(o.path) in ("nifti", "itk"))
    masks = [f for f, n in folders.items() if n >= 2 and _LABEL_WORDS.match(PurePosixPath(f).name)]
    parents = {f: str(PurePosixPath(f).parent) for f in masks}
    if not masks or any(folders.get(p, 0) != 1 for p in parents.values()):
        return None
    first = parents[masks[0]]
    image = next(o for o in listing if str(PurePosixPath(o.path).parent) == first and format_of(o.path))
    depth = len(PurePosixPath(first).parts)
    case = "/".join(["*"] * (depth - 1) + ["{case}"])
    suffix = _suffix(next(o.path for o in listing if o.path.startswith(f"{masks[0]}/")))
    known = _names_to_structures()
    structures: dict[str, str] = {}
    unknown: set[str] = set()
    for o in listing:
        if str(PurePosixPath(o.path).parent) in parents and o.path.endswith(suffix):
            stem = PurePosixPath(o.path).name.removesuffix(suffix)
            structure = known.get(_word(stem))
            if structure is None:
                unknown.add(stem)
            else:
                structures[stem] = structure
    if not structures:
        return None
    remarks += [
        f"check: mask {stem!r} is no structure of the ontology; its files are skipped" for stem in sorted(unknown)
    ]
    modality = _modality(store, [image], remarks)
    folder = PurePosixPath(masks[0]).name
    layout = {
        "kind": "per-structure",
        "image": {
            "name": modality.lower(),
            "modality": modality,
            "path": f"{case}/{PurePosixPath(image.path).name}",
        },
        "structures": f"{case}/{folder}/{{structure}}{suffix}",
    }
    remarks.insert(
        0, f"found one mask file per structure beside each image: {len(structures)} structures, {len(masks)} cases"
    )
    table = {"origin": "unknown", "looked_for": "all", "structures": dict(sorted(structures.items()))}
    found = {"layout": layout, "labels": {"labels": table}}
    return found | _skipping(f"**/{stem}{suffix}" for stem in sorted(unknown))


def _skipping(patterns: Iterable[str]) -> dict[str, Any]:
    """`skip:` of a manifest with more patterns than its default; nothing when there are none."""
    more = list(patterns)
    return {"skip": [*Source.model_fields["skip"].default, *more]} if more else {}


def _paired(store: SourceStore, listing: Sequence[ListedObject], remarks: list[str]) -> dict[str, Any] | None:
    files = [o for o in listing if format_of(o.path) in ("nifti", "itk")]
    if not files:
        return None
    labels = [o for o in files if _is_label(o.path)]
    images = [o for o in files if not _is_label(o.path)]
    if not images:
        return None
    channels = _named_channels(images, remarks)
    if not channels:
        modality = _modality(store, images, remarks)
        channels = [{"name": modality.lower(), "modality": modality, "path": _common_pattern(images, remarks)}]
    layout: dict[str, Any] = {"kind": "paired", "images": channels}
    remarks.insert(0, f"found {len(images)} images and {len(labels)} label files: layout paired")
    if not labels:
        return {"layout": layout}
    values = _label_values(store, labels)
    table = _table(dict.fromkeys(values, ""), remarks)
    label_patterns = [p for p, _ in Counter(_label_pattern(o.path) for o in labels).most_common()]
    label_pattern = label_patterns[0]
    if table is None:
        # Not to be taken for images: x_seg.nii.gz fits {case}.nii.gz too.
        skip = _skipping(p.replace("{case}", "*") for p in label_patterns)
        shown = ", ".join(str(v) for v in values)
        remarks.append(
            f"labels like {label_pattern!r} hold the values {shown}; say under labels: what they mean, add the pattern to "
            "layout.labels instead of skip:, and change labels: image_only in the recipe to a label space"
        )
        return {"layout": layout} | skip
    layout["labels"] = [{"table": "labels", "image": channels[0]["name"], "path": label_pattern}]
    return {"layout": layout, "labels": {"labels": table}}


def _common_pattern(images: Sequence[ListedObject], remarks: list[str]) -> str:
    """The pattern that most of the images fit."""
    (pattern, count), *others = Counter(_image_pattern(o.path) for o in images).most_common()
    if others:
        remarks.append(f"check: {len(images) - count} images do not fit {pattern!r}, for example {others[0][0]!r}")
    return pattern


def _named_channels(images: Sequence[ListedObject], remarks: list[str]) -> list[dict[str, Any]]:
    """A channel for each modality, where every file's name says one and they differ; else nothing."""
    by_word: dict[str, list[ListedObject]] = {}
    for o in images:
        name = PurePosixPath(o.path).name
        words = [w for w in re.split(r"[^A-Za-z0-9]+", name) if w.upper() in _MODALITY_WORDS]
        if not words:
            return []
        by_word.setdefault(words[0], []).append(o)
    by_modality: dict[str, list[str]] = {}
    for word in by_word:
        by_modality.setdefault(_MODALITY_WORDS[word.upper()], []).append(word)
    if len(by_modality) < 2:
        return []
    channels = []
    for modality, words in sorted(by_modality.items()):
        pattern = _common_pattern([o for w in words for o in by_word[w]], remarks)
        told_apart = pattern.replace("{case}", f"{{case:[^/]*({'|'.join(sorted(words))})[^/]*}}", 1)
        channels.append({"name": modality.lower(), "modality": modality, "path": told_apart, "optional": True})
    remarks.append(f"modalities {', '.join(sorted(by_modality))}, from the file names; each file is a case of its own")
    return channels


def _dicom(store: SourceStore, listing: Sequence[ListedObject], remarks: list[str]) -> dict[str, Any] | None:
    for o in [o for o in listing if format_of(o.path) == "dicom"][: 10 * SAMPLED_FILES]:
        if store.read(o.path, 128, 132) == b"DICM":
            remarks.insert(0, "found DICOM files: every series becomes a case, grouped by SeriesInstanceUID")
            return {"layout": {"kind": "dicom", "path": "**"}}
    return None


def _is_label(path: str) -> bool:
    p = PurePosixPath(path)
    stem = p.name.removesuffix(_suffix(path))
    return any(_LABEL_WORDS.match(part) for part in p.parts[:-1]) or bool(_LABEL_SUFFIX.search(stem))


def _suffix(path: str) -> str:
    name = PurePosixPath(path).name
    return ".nii.gz" if name.endswith(".nii.gz") else PurePosixPath(name).suffix


def _image_pattern(path: str) -> str:
    p, suffix = PurePosixPath(path), _suffix(path)
    stem = p.name.removesuffix(suffix)
    channel = _CHANNEL_SUFFIX.search(stem)
    if (
        len({stem, p.parent.name}) == 2
        and not channel
        and stem.lower() in {"image", "ct", "mr", "mri", "t1", "t2", "pet", "scan"}
    ):
        return str(p.parent.parent / "{case}" / p.name).removeprefix("./")
    return str(p.parent / f"{{case}}{channel[0] if channel else ''}{suffix}").removeprefix("./")


def _label_pattern(path: str) -> str:
    p, suffix = PurePosixPath(path), _suffix(path)
    stem = p.name.removesuffix(suffix)
    end = _LABEL_SUFFIX.search(stem)
    return str(p.parent / f"{{case}}{end[0] if end else ''}{suffix}").removeprefix("./")


def _modality(store: SourceStore, images: Sequence[ListedObject], remarks: list[str]) -> str:
    words = Counter(
        _MODALITY_WORDS[w] for o in images for w in re.split(r"[^A-Z0-9]+", o.path.upper()) if w in _MODALITY_WORDS
    )
    if words:
        modality = words.most_common(1)[0][0]
        remarks.append(f"modality {modality}, from the file names")
        return modality
    for o in images[:SAMPLED_FILES]:
        try:
            values = _voxels(store, o)
        except Rejected:
            continue
        if float(np.nanmin(values)) < CT_AIR:
            remarks.append(f"modality CT, because values go below {CT_AIR}")
            return "CT"
    remarks.append("check: the modality could not be told from names or values; MR was assumed")
    return "MR"


def _label_values(store: SourceStore, labels: Sequence[ListedObject]) -> list[int]:
    values: set[int] = set()
    for o in labels[:SAMPLED_FILES]:
        try:
            values |= {int(v) for v in np.unique(_voxels(store, o))}
        except Rejected:
            continue
    return sorted(values)


def _voxels(store: SourceStore, o: ListedObject) -> Any:
    kind = format_of(o.path) or ""
    data = store.read(o.path)
    prefix = data[: read_arrays.PREFIX_BYTES[kind]]
    head = read_arrays.read_header(kind, prefix, name="image", file_bytes=o.bytes, limits=Limits())
    volume = read_arrays.read_array(head.header, [Blob(o.path, data, store.local(o.path))], limits=Limits())
    return volume.array_zyx * volume.scale + volume.offset


def _table(named: Mapping[int, str], remarks: list[str]) -> dict[str, Any] | None:
    """A label table for values whose names are structures; None when what a value means is not known."""
    known = _names_to_structures()
    values: dict[int, str] = {}
    for value, name in sorted(named.items()):
        if value == 0:
            values[0] = BACKGROUND
        elif structure := known.get(_word(name)):
            values[value] = structure
        else:
            if name:
                remarks.append(f"check: label {value} is called {name!r}, which is no structure of the ontology")
            return None
    return {"origin": "unknown", "looked_for": "all", "values": values} if len(values) > 1 else None


def _names_to_structures() -> dict[str, str]:
    names: dict[str, str] = {}
    for structure in ontology.load().values():
        for word in (structure.id, *structure.synonyms):
            names.setdefault(_word(word), structure.id)
    return names


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower().replace("tumor", "tumour")).strip("_")


def as_yaml(content: Mapping[str, Any]) -> str:
    """YAML in the order given, for people to edit."""
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120)
