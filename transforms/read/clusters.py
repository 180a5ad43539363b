"""Which instances of a series belong to one volume.

Two rules:

* what cannot lie in one array never does: another size, pixel spacing, plane or frame of reference is another cluster;
* other attributes split a cluster only where they *explain* that several slices lie at one position. A regular stack
  stays one volume however its AcquisitionNumber, EchoTime or ImageType change along it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from schemas.reasons import Reason
from transforms.read.dicom import Instance
from transforms.read.header import IF_WANTED
from transforms.read.stack import MIN_SLICES, dot, normal_of, slots
from transforms.rejected import Rejected

ORIENTATION_TOLERANCE = 1e-3
"""Direction cosines that differ by less (dimensionless; 0.06°) are of one plane."""

SPACING_TOLERANCE = 1e-3
"""Pixel spacings that differ by a smaller fraction are equal."""

LOCALIZER_MAX_SLICES = 20
"""A series of three planes at right angles, each of no more slices than this, is a three-plane localizer."""

_PERPENDICULAR = 0.2  # cosine: planes of a localizer may be turned up to 11° from right angles

_TYPE_WORDS = frozenset(
    """
    ORIGINAL DERIVED PRIMARY SECONDARY MIXED AXIAL LOCALIZER HELIX VOLUME OTHER NONE ADDITION DIVISION SUBTRACTION AVERAGE
    MIP MPR MAXIMUM MINIMUM MEAN MEDIAN FILTERED RESAMPLED PROJECTION M P R I MAGNITUDE PHASE REAL IMAGINARY M_FFE P_FFE
    R_FFE I_FFE M_SE P_SE R_SE I_SE M_IR P_IR R_IR I_IR FFE SE IR PHASE_MAP FIELD_MAP B0 B1 ADC FA TRACE TRACEW EADC EXP
    DIFFUSION ISOTROPIC T1 T2 PD T2_STAR FLAIR STIR WATER FAT IN_PHASE OPP_PHASE OUT_PHASE FAT_FRACTION DIXON PERFUSION TTP
    RCBV RCBF MTT VELOCITY FLOW NORM ND DIS2D DIS3D FM FS MFSPLIT MOSAIC SUB STATIC DYNAMIC GATED WHOLE_BODY IMAGE
    REPROJECTION
    """.split()  # noqa: SIM905 (easier to read)
)
"""Words of ImageType and FrameType that may be quoted (PS3.3 C.7.6.1.1.2, C.8.13, vendors'); others may hold anything."""

Key = Callable[[Instance], Hashable]

CONTRASTS: dict[str, Key] = {
    "ImageType": lambda i: i.image_type,
    "EchoNumbers": lambda i: i.echo_numbers,
    "EchoTime": lambda i: i.echo_time,
    "DiffusionBValue": lambda i: i.diffusion_b_value,
    "InversionTime": lambda i: i.inversion_time,
    "DiffusionGradientOrientation": lambda i: i.diffusion_direction,
}
"""Attributes whose values are different images of one place: each is a volume of its own."""

TIMES: dict[str, Key] = {
    "TemporalPositionIdentifier": lambda i: i.temporal_position_identifier,
    "TriggerTime": lambda i: i.trigger_time,
    "AcquisitionNumber": lambda i: i.acquisition_number,
}
"""Attributes whose values are one image at different times."""


@dataclass(frozen=True)
class Part:
    """Instances that may be one volume.

    Attributes:
        instances: in no particular order.
        why: what sets them apart from the others of their series; empty for a series that was not split.
        temporal: whether they are one place at several times.
    """

    instances: tuple[Instance, ...]
    why: str = ""
    temporal: bool = False


def by_geometry(instances: Sequence[Instance]) -> list[Part]:
    """Clusters of one size, pixel spacing, plane and frame of reference, in the order of their first instance.

    Args:
        instances: placed (`stack.check_plane`), in a stated order; each is compared with the first of each cluster.
    """
    clusters: list[list[Instance]] = []
    for instance in instances:
        for cluster in clusters:
            if _same_geometry(cluster[0], instance):
                cluster.append(instance)
                break
        else:
            clusters.append([instance])
    if len(clusters) == 1:
        return _by_stack(Part(tuple(clusters[0])))
    return [stack for c in clusters for stack in _by_stack(Part(tuple(c), _described(c[0])))]


def _by_stack(part: Part) -> list[Part]:
    """The stacks of a multi-frame object: frames of one StackID lie on one grid (PS3.3 C.7.6.16.2.2.4)."""
    stacks = _split(part.instances, lambda i: i.stack_id)
    if len(stacks) < 2 or any(len(slots(s)) < MIN_SLICES for s in stacks):
        return [part]
    return [Part(s, _joined(part.why, f"stack {n} of {len(stacks)} (StackID)")) for n, s in enumerate(stacks, 1)]


def _same_geometry(a: Instance, b: Instance) -> bool:
    if (a.rows, a.columns, a.frame_of_reference_uid) != (b.rows, b.columns, b.frame_of_reference_uid):
        return False
    planes = zip(a.image_orientation_patient or (), b.image_orientation_patient or (), strict=True)
    steps = zip(a.pixel_spacing or (), b.pixel_spacing or (), strict=True)
    return all(abs(p - q) <= ORIENTATION_TOLERANCE for p, q in planes) and all(
        abs(p - q) <= SPACING_TOLERANCE * p for p, q in steps
    )


def _described(i: Instance) -> str:
    plane = ", ".join(f"{c:.3f}" for c in i.image_orientation_patient or ())
    spacing = "×".join(f"{s:.4g}" for s in i.pixel_spacing or ())
    return f"{i.columns}×{i.rows} pixels of {spacing} mm in plane ({plane})"


def is_three_plane(parts: Sequence[Part]) -> bool:
    """Whether clusters are the three planes of a localizer: few slices each, three of them at right angles."""
    if any(len(p.instances) > LOCALIZER_MAX_SLICES for p in parts):
        return False
    normals = [normal_of(p.instances[0].image_orientation_patient or ()) for p in parts]
    return any(
        abs(dot(a, b)) < _PERPENDICULAR and abs(dot(a, c)) < _PERPENDICULAR and abs(dot(b, c)) < _PERPENDICULAR
        for n, a in enumerate(normals)
        for m, b in enumerate(normals[n + 1 :], n + 1)
        for c in normals[m + 1 :]
    )


def by_content(part: Part, *, over_time: bool = False) -> list[Part]:
    """The volumes within a cluster whose slices share positions.

    First by contrast (`CONTRASTS`, all that vary together), then by time (`TIMES`, one after the other). A split is
    taken only where every piece has each position once and at least `MIN_SLICES` of them. What no attribute explains
    stays together: slices that coincide are then candidates for duplicates, which only their pixels can settle.

    Args:
        part: of one geometry.
        over_time: whether several time points at each position are taken, as one piece that says so.

    Raises:
        Rejected: TEMPORAL, several time points at each position that are not taken.
    """
    if _once_each(part.instances):
        return [part]
    varying = {name: key for name, key in CONTRASTS.items() if len({key(i) for i in part.instances}) > 1}
    if varying:
        pieces = _split(part.instances, lambda i: tuple(key(i) for key in varying.values()))
        if all(len(slots(p)) >= MIN_SLICES for p in pieces) and any(
            len(slots(p)) == len(slots(part.instances)) for p in pieces
        ):
            named = [Part(p, _joined(part.why, _values(varying, p[0]))) for p in pieces]
            return [piece for n in named for piece in _by_time(n, over_time)]
    return _by_time(part, over_time)


def _by_time(part: Part, over_time: bool) -> list[Part]:
    if _once_each(part.instances):
        return [part]
    everywhere = slots(part.instances)
    name, pieces = time_points(part.instances)
    if name == "AcquisitionNumber" and any(len(p) < len(everywhere) for p in pieces):
        # Acquisitions that cover different stretches of the patient and overlap: not one place over time.
        return [Part(p, _joined(part.why, f"AcquisitionNumber {p[0].acquisition_number}")) for p in pieces]
    if name and over_time:
        return [replace(part, temporal=True)]
    if name:
        raise Rejected(
            Reason.TEMPORAL, f"{len(pieces)} time points ({name}) at {len(everywhere)} positions; {IF_WANTED}"
        )
    repeated = [s for s in everywhere if len({i.instance_number for i in s}) > 1]
    if 2 * len(repeated) > len(everywhere):
        # Copies of a file keep its InstanceNumber; here the scanner has counted on.
        if over_time:
            return [replace(part, temporal=True)]
        counts = sorted({len(s) for s in everywhere})
        raise Rejected(
            Reason.TEMPORAL,
            f"{'-'.join(str(c) for c in counts[:: max(1, len(counts) - 1)])} instances with numbers of their own "
            f"at each of {len(everywhere)} positions; {IF_WANTED}",
        )
    return [part]


def time_points(instances: Sequence[Instance]) -> tuple[str, list[tuple[Instance, ...]]]:
    """The first of `TIMES` whose values each have every position at most once, and the pieces it makes, by its value.

    An empty name and no pieces where no attribute tells the time points apart.
    """
    for name, key in TIMES.items():
        pieces = _split(instances, key)
        if len(pieces) > 1 and all(_once_each(p) and len(p) >= MIN_SLICES for p in pieces):
            return name, sorted(pieces, key=lambda p: (key(p[0]) is not None, key(p[0])))
    return "", []


def _once_each(instances: Sequence[Instance]) -> bool:
    return len(slots(instances)) == len(instances)


def _split(instances: Sequence[Instance], key: Key) -> list[tuple[Instance, ...]]:
    pieces: dict[Hashable, list[Instance]] = defaultdict(list)
    for instance in instances:
        pieces[key(instance)].append(instance)
    return [tuple(p) for p in pieces.values()]


def _values(keys: dict[str, Key], instance: Instance) -> str:
    return ", ".join(f"{name} {_shown(key(instance))}" for name, key in keys.items())


def _shown(value: Hashable) -> str:
    if isinstance(value, tuple):
        return "/".join(_shown(v) for v in value)
    return "…" if isinstance(value, str) and value not in _TYPE_WORDS else str(value)


def _joined(*reasons: str) -> str:
    return "; ".join(r for r in reasons if r)
