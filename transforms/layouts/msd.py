"""`msd`: the Medical Segmentation Decathlon, whose dataset.json lists every image and label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mdfp.errors import UsageError
from schemas.layouts import MsdLayout
from schemas.reasons import Reason
from schemas.source import Source
from transforms.layouts import dataset_json
from transforms.layouts.case_files import ArrayFiles, CaseFiles, Fault, Found
from transforms.layouts.listing import stem, unmatched
from transforms.layouts.registry import Read, register
from transforms.store import ListedObject


@register("msd")
def msd(source: Source, listing: Sequence[ListedObject], read: Read) -> Found:
    """Cases of a Decathlon task: what dataset.json promises, compared with what is there."""
    layout = source.layout
    if not isinstance(layout, MsdLayout):
        raise TypeError(f"expected an msd layout, found {layout.kind}")
    prefix, described = dataset_json.load(layout.folder, read)
    dataset_json.check_channels(described, layout.channels)
    present = {o.path: o for o in listing}

    cases: list[CaseFiles] = []
    faults: list[Fault] = []
    passed_over: list[ListedObject] = []
    claimed: dict[str, bool] = {}

    def take(path: str | None) -> ListedObject | None:
        found = present.get(path) if path and path not in claimed else None
        if path:
            claimed[path] = True
        return found

    for image_path, label_path, split in _promised(prefix, described):
        if image_path in claimed:
            detail = "dataset.json lists this image more than once; the first entry counts"
            faults.append(Fault(Reason.CONFLICTING_FILES, detail, None, "object"))
            continue
        image, label = take(image_path), take(label_path)
        if split == "test" and not layout.test_images:
            passed_over += [o for o in (image, label) if o]
        elif image is None and label is None:
            detail = "dataset.json lists this image and it is not there"
            faults.append(Fault(Reason.MISSING_FILE, detail, image_path, "object"))
        elif image is None and label is not None:
            detail = "dataset.json lists an image for this label and it is not there"
            faults.append(Fault(Reason.NO_IMAGE, detail, label.path, "object"))
        elif image is not None:
            if not source.labels and label is not None:
                passed_over.append(label)
                label = None
            wanted = label_path is not None and bool(source.labels)
            cases.append(_case(source, layout, image, label, split, wanted))
    rest = [o for o in listing if o.path not in claimed]
    return Found(tuple(cases), (*faults, *unmatched(rest)), (), tuple(passed_over))


def _promised(prefix: str, described: dict[str, object]) -> list[tuple[str, str | None, str]]:
    """(image, label or None, split) of every entry of dataset.json, in its order.

    Raises:
        UsageError: dataset.json lists no training images, or an entry is neither a path nor {image:, label:}.
    """
    training, test = described.get("training"), described.get("test") or []
    if not isinstance(training, list) or not isinstance(test, list):
        raise UsageError("dataset.json: expected lists under 'training' and 'test'")
    promised: list[tuple[str, str | None, str]] = []
    for split, entries in (("train", training), ("test", test)):
        for entry in entries:
            if isinstance(entry, dict) and "image" in entry:
                label = entry.get("label")
                promised.append(
                    (
                        dataset_json.relative(prefix, entry["image"]),
                        dataset_json.relative(prefix, label) if label else None,
                        split,
                    )
                )
            else:
                promised.append((dataset_json.relative(prefix, entry), None, split))
    return promised


def _case(
    source: Source, layout: MsdLayout, image: ListedObject, label: ListedObject | None, split: str, wanted: bool
) -> CaseFiles:
    name = stem(image.path)
    faults: list[Fault] = []
    if wanted and label is None:
        detail = "dataset.json lists a label for this image and it is not there"
        faults.append(Fault(Reason.MISSING_LABEL, detail, None, "label"))
    images = tuple(ArrayFiles(channel.name, ((image, None),), channel=channel) for channel in layout.channels)
    if len(images) > 1:  # volumes of one file of four axes
        images = tuple(replace(a, component=n, components=len(images)) for n, a in enumerate(images))
    labels: tuple[ArrayFiles, ...] = ()
    if label is not None:
        labels = (ArrayFiles(layout.table, ((label, None),), table=layout.table, image=images[0].name),)
    return CaseFiles(
        source=source.id,
        name=name,
        fields=(("case", name),),
        images=images,
        labels=labels,
        split=split,
        faults=tuple(faults),
    )
