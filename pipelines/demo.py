"""The demo: phantom data sets with planted faults in, a verified corpus out, streamed back and looked at."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import mdfp
from examples import phantom
from examples.phantom.truth import Truth
from mdfp.crops import Crops
from mdfp.errors import MdfpError, UsageError
from mdfp.verify import verify
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.console import Console, megabytes
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas.case import Reject
from schemas.reasons import Reason
from transforms import patient_key
from transforms.plan.planner import Selection

RECIPE = Path(__file__).parent.parent / "examples" / "recipes" / "demo.yaml"

MARK = ".phantom-demo"
"""Says that a folder is the demo's own, so that it may be emptied."""

KEY = "phantoms have no secret, key 1"
"""The demo's patient key. Real data never get this one: it is read from the environment or the user's own file."""

BATCHES = 8


class DemoError(MdfpError):
    """The demo did not come out as it must: a planted fault was missed, or something else was lost."""


def demo(folder: Path, workers: int, *, fresh: bool, console: Console) -> dict[str, object]:
    """Make the raw data, build, stream, check, and say what came of it.

    Args:
        folder: where everything goes.
        workers: local processes.
        fresh: empty the folder first; False: go on with what is there.
        console: where to speak.

    Raises:
        UsageError: the folder holds something else.
        DemoError: the result is not what was planted.
    """
    start = time.monotonic()
    _take(folder, fresh=fresh)
    os.environ[patient_key.VARIABLE] = KEY
    bucket, corpus_folder = folder / "bucket", folder / "corpus"
    console.say(f"raw data: phantom CT and MR as four public data sets would publish them, in {bucket}")
    if bucket.exists():
        shutil.rmtree(bucket)
    truth = phantom.write_bucket(bucket, scale="demo")

    roots = [f"{source}={bucket / source}" for source in phantom.SOURCES]
    workspace = open_workspace(RECIPE, roots, str(corpus_folder))
    options = BuildOptions(max_holes=0.5)  # a third of one source is broken on purpose
    finished = runs.run(workspace, Selection(), Engine(workers), options, console)
    if finished is None:
        raise DemoError(f"{corpus_folder}: nothing to build; run the demo with --fresh")

    corpus = mdfp.open(str(corpus_folder))
    batches, crops, seconds = _stream(corpus)
    console.say(f"stream: {batches} batches, {crops} crops of 64³ with labels in {seconds:.1f} s")
    faults = verify(corpus)
    rejects = finished.published.rejects
    missed = _missed(truth, rejects)
    result = _summary(corpus, truth, rejects, missed, time.monotonic() - start, folder, console)
    if missed or faults:
        raise DemoError("\n".join([*missed, *(str(f) for f in faults)]))
    return result


def _take(folder: Path, *, fresh: bool) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise UsageError(f"{folder} is not empty and not the demo's; name another with --folder")
    if fresh and (folder / MARK).exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()


def _stream(corpus: mdfp.Corpus) -> tuple[int, int, float]:
    start = time.monotonic()
    # Every modality has a grid of its own, so batches are of crops.
    loader = corpus.loader("train", seed=0, crops=Crops(64, foreground=0.5), batch=2)
    batches = crops = 0
    for batch in loader:
        batches += 1
        crops += len(batch["image"])  # type: ignore[call-overload, index]
        if batches == BATCHES:
            break
    return batches, crops, time.monotonic() - start


def _missed(truth: Truth, rejects: Sequence[Reject]) -> list[str]:
    """What differs between what was planted and what was left out."""
    planted = Counter((f.source, str(f.reason)) for f in truth.faults)
    found = Counter((r.source, str(r.reason)) for r in rejects if r.reason != Reason.DUPLICATE)
    lines = [
        f"{source}: planted {n} × {r}, found {found[source, r]}"
        for (source, r), n in planted.items()
        if found[source, r] != n
    ]
    lines += [f"{source}: {n} × {r} was not planted" for (source, r), n in found.items() if (source, r) not in planted]
    duplicates = sum(r.reason == Reason.DUPLICATE for r in rejects)
    if duplicates != len(truth.duplicates):
        lines.append(f"planted {len(truth.duplicates)} duplicates, found {duplicates}")
    return lines


def _summary(
    corpus: mdfp.Corpus,
    truth: Truth,
    rejects: Sequence[Reject],
    missed: list[str],
    seconds: float,
    folder: Path,
    console: Console,
) -> dict[str, object]:
    reasons = Counter(str(r.reason) for r in rejects)
    vanished = sum(s.vanished for sample in corpus.samples for s in sample.structures)
    console.say()
    found = corpus.manifest.samples + sum(r.case_id is not None for r in rejects)
    console.say(f"cases      {found} in {len(phantom.SOURCES)} data sets")
    console.say(
        f"samples    {corpus.manifest.samples}: " + ", ".join(f"{s.samples} {s.split}" for s in corpus.manifest.splits)
    )
    console.say(f"left out   {len(rejects)}: " + ", ".join(f"{n} {r}" for r, n in sorted(reasons.items())))
    planted = len(truth.faults) + len(truth.duplicates)
    console.say(f"planted    {planted} faults, {planted - len(missed)} found by their reason")
    console.say(f"vanished   {vanished} lesion too small for the grid: present, lost in resampling, and marked so")
    size = sum(s.bytes for s in corpus.manifest.shards)
    console.say(f"bytes      {megabytes(size)} in {len(corpus.manifest.shards)} shards")
    console.say(f"time       {seconds:.0f} s")
    console.say()
    console.say("look at    " + str(folder / "corpus" / "report.html"))
    console.say("           " + str(folder / "corpus" / "contact-sheet.png"))
    command = os.path.relpath(Path(sys.executable).with_name("mdfp"))
    console.say(f"try        {command} info {folder / 'corpus'}")
    console.say(f"           {command} ls {folder / 'corpus'}")
    return {
        "cases": found,
        "samples": corpus.manifest.samples,
        "rejects": dict(reasons),
        "missed": missed,
        "bytes": size,
        "seconds": round(seconds, 1),
    }
