"""What grouping a listing gives: the files of each case, and what could not be placed. References only, no bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.case import CaseAnnotation
from schemas.layouts import ImageChannel
from schemas.reasons import Reason
from transforms.read.header import ReadHeader
from transforms.store import ListedObject


@dataclass(frozen=True)
class Fault:
    """Why a case, its label or a single object cannot be used.

    Attributes:
        reason: code from the closed list.
        detail: for a person; speaks of patterns and roles, never of the source's own file or case names.
        path: the object it concerns, below the root; not yet redacted.
        concerns: `case`: nothing of the case can be used; `label`: its images can; `object`: it belongs to no case.
    """

    reason: Reason
    detail: str
    path: str | None
    concerns: Literal["case", "label", "object"]


@dataclass(frozen=True)
class KnownLabel:
    """A label whose header was read while its case was put together (SEG, RTSTRUCT).

    Attributes:
        read: its header and what was noticed.
        origin: who drew it.
        masks: how many of its masks will be read.
    """

    read: ReadHeader
    origin: str
    masks: int


@dataclass(frozen=True)
class ArrayFiles:
    """The objects of one image or one label of a case, in reading order.

    Attributes:
        name: name within the case: `ct`, `labels`.
        objects: each with the structure whose mask it holds, or None.
        channel: what the image is; None for a label.
        table: name of the label's table; None for an image.
        image: name of the image that the label belongs to; None for an image.
        looked_for: structures that were looked for in this case, where a table of the source says.
        component: which volume of a file of several (NIfTI with four axes), from 0; None: the file holds one.
        components: how many volumes the file must hold; None: whatever number.
        known: what is known of a label already; None where its file's header is yet to be read.
        reader: number of the reader who drew a label, where several did.
    """

    name: str
    objects: tuple[tuple[ListedObject, str | None], ...]
    channel: ImageChannel | None = None
    table: str | None = None
    image: str | None = None
    looked_for: tuple[str, ...] | None = None
    component: int | None = None
    components: int | None = None
    known: KnownLabel | None = None
    reader: int | None = None

    @property
    def record_name(self) -> str:
        """Name of the array in object records: `image:ct`, `label:labels`."""
        return f"{'image' if self.channel else 'label'}:{self.name}"


@dataclass(frozen=True)
class TextFile:
    """A text of a case: in a file, or as it stood in a table's cell."""

    name: str
    kind: str
    language: str | None
    object: ListedObject | None
    value: str | None

    @property
    def record_name(self) -> str:
        """Name of the text in object records."""
        return f"text:{self.name}"


@dataclass(frozen=True)
class Told:
    """What a table or a path says of a case.

    Attributes:
        annotations: in native pixels; those in fractions of the picture are in `fractions`.
        fractions: the same, whose coordinates are fractions of width and height, to be multiplied with them.
        texts: reports and captions.
    """

    annotations: tuple[CaseAnnotation, ...] = ()
    fractions: tuple[CaseAnnotation, ...] = ()
    texts: tuple[TextFile, ...] = ()
    sex: str | None = None
    age_years: float | None = None
    site: str | None = None
    patient: str | None = None
    """The patient's id in the source, where the table names it."""


def moment_name(name: str, number: int) -> str:
    """Name of a time point, from 0, of the case with this name."""
    return f"{name}-t{number:03d}"


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case, before any header was read.

    Attributes:
        source: id of the source.
        name: the case's name in the source.
        fields: fields of the layout's patterns and their values, sorted by field.
        images: its images.
        labels: its labels; none where nobody labelled it.
        split: the split that the layout itself says: train or test.
        faults: what is wrong with it already; decided upon by the inventory.
        readable: whether its name, made fit for a key, is no other case's.
        told: what a table or a path says of it besides files.
        moment: which time point of its images over time it is, from 0, where each is a case of its own; else None.
    """

    source: str
    name: str
    fields: tuple[tuple[str, str], ...]
    images: tuple[ArrayFiles, ...]
    labels: tuple[ArrayFiles, ...] = ()
    split: str | None = None
    faults: tuple[Fault, ...] = ()
    readable: bool = True
    told: Told | None = None
    moment: int | None = None

    @property
    def key_name(self) -> str:
        """The name that its id is made of: no other case's."""
        return self.name if self.moment is None else moment_name(self.name, self.moment)

    @property
    def arrays(self) -> tuple[ArrayFiles, ...]:
        """Images, then labels."""
        return self.images + self.labels

    @property
    def objects(self) -> tuple[ListedObject, ...]:
        """Every object of the case, once, though several volumes may lie in it."""
        texts = self.told.texts if self.told else ()
        arrays = (o for array in self.arrays for o, _ in array.objects)
        return tuple({o.path: o for o in (*arrays, *(t.object for t in texts if t.object))}.values())


@dataclass(frozen=True)
class HeaderFile:
    """An object that can only be grouped once its header was read: a DICOM instance, or a label beside a series.

    Attributes:
        object: the object.
        group: what its path says it belongs to; empty when only the header can tell.
        fields: fields of its path, sorted by field.
        label: None for an instance; for a label file its place in `layout.labels`.
        drawings: kinds of objects among the instances that are labels: SEG, RTSTRUCT.
        marks: whether it is a file of several readers' marks.
    """

    object: ListedObject
    group: str
    fields: tuple[tuple[str, str], ...]
    label: int | None = None
    drawings: tuple[str, ...] = ()
    marks: bool = False


@dataclass(frozen=True)
class Found:
    """What one layout makes of the objects that its patterns may claim.

    Attributes:
        cases: cases that the listing alone can tell.
        faults: objects that belong to no case, and promised objects that are not there.
        headers: objects to read before they can be grouped (DICOM).
        passed_over: objects that the layout knows and the manifest did not ask for, such as test images.
    """

    cases: tuple[CaseFiles, ...] = ()
    faults: tuple[Fault, ...] = ()
    headers: tuple[HeaderFile, ...] = ()
    passed_over: tuple[ListedObject, ...] = ()
