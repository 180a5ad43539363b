"""A tiny world for the commit protocol: twelve cases in two buckets, and a maker that is nothing but deterministic.

Everything else is the code that builds corpora. Replaced, because they are no part of the protocol and cost most of the
time: the reading and normalising of pixels, the judging of expectations, and the drawing of the report.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pipelines.build
import pipelines.plan
import pipelines.publish
import pipelines.repair
import pipelines.run
from expectations.outcome import ValidationResult
from mdfp.sample import PERCENTS, Acquisition, Grid, IntensityStats, Normalisation, Sample, SampleImage
from pipelines.console import Console
from pipelines.workspace import Workspace
from schemas.case import ArrayHeader, Case, CaseImage, ObjectRecord
from schemas.place import Place
from schemas.plan import Assignment
from schemas.reasons import Reason
from schemas.recipe import Recipe
from schemas.source import Source
from tests.kills.fake_store import PROTOCOL, etag, open_fake
from transforms import build_shards, commit, environment
from transforms import store as store_module
from transforms.fetch import FetchedCase
from transforms.pixel_version import PIXEL_VERSION
from transforms.plan.files import PlanReader
from transforms.plan.planner import Inventory
from transforms.pseudonym import PatientKeys
from transforms.rejected import Rejected
from transforms.sample import MadeSample, Payload
from transforms.store import CorpusStore
from transforms.stores import limits
from transforms.stores.remote import Remote

BAD = b"not what it says"
"""Content of a file that cannot be read."""

GRID = Grid((4, 5, 6), (1.0, 1.0, 1.0), "RAS", tuple(float(i % 5 == 0) for i in range(16)))
STATS = IntensityStats(-5.0, 5.0, 0.0, 1.0, tuple(0.0 for _ in PERCENTS), None, None)
HEADER = ArrayHeader(
    name="ct", format="nifti", axes="zyx", shape=(4, 5, 6), spacing_xyz_mm=(1.0, 1.0, 1.0), orientation="RAS",
    affine_ras=GRID.affine_ras, obliquity_deg=0.0, dtype="int16", scale=1.0, offset=0.0, frame_of_reference=None,
    verdict="regular", bytes=1000,
)  # fmt: skip
KEYS = PatientKeys(b"a key of sixteen bytes and more")


def contents() -> dict[str, dict[str, bytes]]:
    """Files by source: seven cases and five, of which two are equal and one is broken."""
    files: dict[str, dict[str, bytes]] = {"a": {}, "b": {}}
    for n in range(12):
        source = "b" if n >= 7 else "a"
        files[source][f"{source}-{n}.bin"] = hashlib.sha256(b"%d" % n).digest() * (3 + n)
    files["b"]["b-9.bin"] = files["a"]["a-2.bin"]
    files["a"]["a-4.bin"] = BAD
    return files


def inventory(local: bool = False) -> Inventory:
    """What an inventory of those files finds, in a store or, all of them of the year 1970, in a `local` folder."""
    cases, objects = [], []
    for source, files in contents().items():
        for name, data in files.items():
            case_id = name.removesuffix(".bin")
            number = int(case_id[2:])
            cases.append(
                Case(
                    case_id=case_id,
                    source=source,
                    patient=f"p{number % 9}",
                    study=None,
                    series=None,
                    timepoint=None,
                    days_from_first=None,
                    sex=None,
                    age_years=None,
                    site=None,
                    split=None,
                    license="CC-BY-4.0",
                    images=(CaseImage(HEADER, "CT", Acquisition()),),
                    labels=(),
                    annotations=(),
                    texts=(),
                    findings=(),
                    estimated_seconds=1.0,
                    estimated_bytes=400_000,
                )
            )
            version = "mtime:0" if local else f"etag:{etag(data)}"
            objects.append(ObjectRecord(source, name, len(data), version, case_id, "image:ct", 0, None))
    return Inventory(tuple(cases), tuple(objects), (), KEYS.fingerprint)


@cache
def sources() -> dict[str, Source]:
    """The manifests of both sources."""
    layout = {"kind": "paired", "images": [{"name": "ct", "modality": "CT", "path": "{case}.bin"}]}
    return {
        name: Source.model_validate(
            {
                "id": name,
                "title": name.upper(),
                "terms": {"license": "CC-BY-4.0"},
                "patient": {"namespace": name},
                "layout": layout,
            }
        )
        for name in ("a", "b")
    }


@cache
def recipe() -> Recipe:
    """All of both, images only."""
    return Recipe.model_validate(
        {
            "corpus": "tiny",
            "out": "somewhere",
            "sources": [{"id": "a"}, {"id": "b"}],
            "terms": {"accept": ["CC-BY-4.0"]},
            "labels": "image_only",
            "splits": {"train": 0.6, "val": 0.2, "test": 0.2},
        }
    )


def payload(content: bytes, pixel_version: int) -> bytes:
    """What a version of the code makes of a file."""
    return b"version %d of " % pixel_version + content


@dataclass(frozen=True)
class FakeMaker:
    """Makes a sample of a file: its bytes, and the version of the code that made it.

    Attributes:
        generation: number of the manifest the samples are planned for.
        recipe: the plan's, for its limits.
        sources: manifests by id, for how their files are opened.
    """

    generation: int
    recipe: Recipe
    sources: Mapping[str, Source]

    def samples(self, fetched: FetchedCase, assignment: Assignment) -> Iterator[MadeSample]:
        """The one sample, of two members.

        Raises:
            Rejected: the file is the broken one.
        """
        ((blob, _),) = fetched.blobs["image:ct"]
        # A file too large for memory would be named; these never are.
        content = bytes(blob.data)
        if content == BAD:
            raise Rejected(Reason.CORRUPT_GZIP, "it is broken")
        case = fetched.case
        record = Sample(
            key=case.case_id, case_id=case.case_id, source=case.source, split=assignment.split or "", fold=None,
            group=assignment.group, generation=self.generation, shard="", position=assignment.position or 0,
            patient=case.patient, study=None, series=None, timepoint=None, days_from_first=None, modalities=("CT",),
            sex=None, age_years=None, site=None, license="CC-BY-4.0",
            images=(
                SampleImage(
                    name="ct", modality="CT", axes="zyx", dtype="int16", unit="HU", scale=1.0, offset=0.0, native=GRID,
                    stored=GRID, native_dtype="int16", obliquity_deg=0.0, acquisition=Acquisition(), acquisition_axis="z",
                    native_intensity=STATS, stored_intensity=STATS, normalisation=Normalisation("window_hu", -100.0, 100.0),
                    padding_voxels=0, nonfinite_voxels=0, body_box=None, content_hash=etag(content),
                ),
            ),
            labels=(), structures=(), annotations=(), texts=(), members=(), findings=(), done=(), warnings=(),
        )  # fmt: skip
        data = payload(content, code_version()) + noise()
        payloads = (
            Payload(f"{record.key}.bin", "image", "ct", data),
            Payload(f"{record.key}.txt", "text", "note", data[:9]),
        )
        return iter([MadeSample(record, payloads)])


_code = SimpleNamespace(version=PIXEL_VERSION, noise=b"")


def code_version() -> int:
    """`PIXEL_VERSION` of the code that is running now."""
    return _code.version


def noise() -> bytes:
    """What a build that is not deterministic adds to its bytes."""
    return bytes(_code.noise)


def run_version(version: int, noisy: bytes = b"") -> None:
    """From now on the code is of this version; `noisy` makes its bytes differ from those of others."""
    if _code.version != version:
        for module in _versioned():
            module.PIXEL_VERSION = version  # type: ignore[attr-defined]
    _code.version, _code.noise = version, noisy


@cache
def _versioned() -> tuple[object, ...]:
    folders = ("transforms.", "pipelines.")
    return tuple(m for n, m in sorted(sys.modules.items()) if n.startswith(folders) and hasattr(m, "PIXEL_VERSION"))


def workspace(root: str, raw: str, *, guarded: bool = True) -> Workspace:
    """The recipe, at work in a corpus.

    Args:
        root: of the corpus.
        raw: folder or URL of the sources.
        guarded: whether the store must honour preconditions; False: it was accepted without.
    """
    return Workspace(
        recipe=recipe(),
        recipe_path=Path("tiny.yaml"),
        sources=sources(),
        roots={name: f"{raw}/{name}" for name in sources()},
        corpus=CorpusStore(Place(root, guarded=guarded)),
        keys=KEYS,
    )


class _Unchecked:
    """Accepts all samples."""

    def __init__(self, *_: object, **__: object):
        self.summary = None

    def add(self, table: object) -> None:
        """Nothing."""

    def finish(self, *_: object) -> ValidationResult:
        """No expectation, none broken."""
        return ValidationResult("samples", ())


def _write_report(space: Workspace, *_: object) -> None:
    commit.replace(b"<html></html>", space.corpus, "report.html")


CONSOLE = Console(as_json=True, quiet=True)


@contextlib.contextmanager
def cheap(*, local: bool = False) -> Iterator[None]:
    """While the body runs, everything that is not protocol costs next to nothing.

    Args:
        local: whether the sources lie in a folder.
    """
    locked = environment.locked()
    found = inventory(local).table()
    taken = SimpleNamespace(line=lambda: "", folder="inventory/tiny", table=found)

    def validated(*_: object, **__: object) -> ValidationResult:
        return ValidationResult("samples", ())

    real = build_shards.sample_maker

    def maker(plan: PlanReader, *_: object, **__: object) -> FakeMaker:
        made = real(plan)
        return FakeMaker(made.generation, made.recipe, made.sources)

    open_remote = store_module.open_remote

    def open_any(place: Place) -> Remote:
        return open_fake(place) if place.protocol == PROTOCOL else open_remote(place)

    with contextlib.ExitStack() as stack:
        for target, name, instead in (
            (environment, "locked", lambda: dict(locked)),
            # Actors are processes, and do not share a process's limits.
            (store_module, "open_remote", open_any),
            (limits, "request", lambda *_: contextlib.nullcontext()),
            (build_shards, "sample_maker", maker),
            (pipelines.repair, "sample_maker", maker),
            (pipelines.run, "take_inventory", lambda *_: taken),
            (pipelines.run, "describe", lambda *_: None),
            (pipelines.run, "drift", SimpleNamespace(look=lambda *_: None)),
            (pipelines.plan, "read_inventory", lambda _: found),
            (pipelines.plan, "validate_plan", validated),
            (pipelines.publish, "SampleCheck", _Unchecked),
            (pipelines.publish, "write_report", _write_report),
        ):
            stack.enter_context(mock.patch.object(target, name, instead))
        try:
            yield
        finally:
            run_version(PIXEL_VERSION)
