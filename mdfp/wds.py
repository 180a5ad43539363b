"""For those who stream with plain webdataset: the decoder of this format's members.

    import webdataset as wds
    from mdfp.wds import decoder

    corpus = mdfp.open(url)
    data = wds.WebDataset(shard_urls(corpus, "train")).decode(decoder)
    for sample in data:
        sample["image.ct.b2nd"], sample["label.base.b2nd"], sample["json"]

A tar reader takes whole shards, each sample once. Where the corpus has a sampling plan, or is the view of one site, a stage
of the pipeline takes each sample as often as it is due in an epoch of the loader, and leaves out what is not in the view:

    data = wds.WebDataset(shard_urls(corpus, "train")).compose(sampled(corpus, "train", seed=0, epoch=3)).decode(decoder)

Labels that were added after publication lie in sidecars, which a reader of the shards does not open: it sees the labels of
before. A stage puts them beside the members of the shard, before they are decoded:

    data = wds.WebDataset(shard_urls(corpus, "train")).compose(added(corpus)).decode(decoder)

Nothing of webdataset is imported here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from mdfp import canonical
from mdfp.codecs import VolumeCodec
from mdfp.errors import UsageError
from mdfp.pictures import decode, is_picture

if TYPE_CHECKING:
    from mdfp.corpus import Corpus


def decoder(key: str, data: bytes) -> Any:
    """A member as numpy array, or None for members that are no arrays, which webdataset's own decoders take.

    Args:
        key: the member's extension, as webdataset names it: `.image.ct.b2nd`, `.image.xray.png`.
        data: its bytes.
    """
    if is_picture(key):
        return decode(data)
    return VolumeCodec().decode(data) if key.endswith(f".{VolumeCodec.extension}") else None


def sampled(
    corpus: Corpus, split: str, *, seed: int = 0, epoch: int = 0
) -> Callable[[Iterable[dict[str, Any]]], Iterator[dict[str, Any]]]:
    """A stage that hands each sample on as often as it comes up in an epoch of `corpus.loader(split, seed=seed)`.

    Each worker may have its own shards: what a sample is due does not depend on who reads it. Samples of the stream that
    are not in the corpus, as it was opened, are left out.

    Raises:
        UsageError: a split without samples, or a sampling plan that leaves none.
    """
    loader = corpus.loader(split, seed=seed)
    keys = corpus.table["key"].to_pylist()
    due = Counter(keys[row] for row in loader.order(epoch))

    def stage(samples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for sample in samples:
            for _ in range(due[sample["__key__"]]):
                yield dict(sample)

    return stage


def added(corpus: Corpus) -> Callable[[Iterable[dict[str, Any]]], Iterator[dict[str, Any]]]:
    """A stage that gives each sample the label members of its sidecars, and a snapshot (`json`) that speaks of them.

    A member is one ranged read. Samples without added labels, and those that are not in the corpus, pass as they are.
    """

    def stage(samples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        rows = {str(key): row for row, key in enumerate(corpus.table["key"].to_pylist())}
        for sample in samples:
            row = rows.get(sample["__key__"])
            yield sample if row is None else _with_added(corpus, row, sample)

    return stage


def _with_added(corpus: Corpus, row: int, sample: dict[str, Any]) -> dict[str, Any]:
    record = corpus.samples.record(row)
    later = [m for m in record.members if m.shard]
    if not later:
        return sample
    found = dict(sample)
    for m in later:
        data = corpus.store.read_range(record.tar_of(m), m.offset, m.bytes)
        found[m.name.partition(".")[2]] = bytes(data)
    if "json" in found:
        now = canonical.plain(record)
        told = json.loads(found["json"])
        told |= {name: now[name] for name in ("license", "labels", "structures", "readings") if name in now}
        found["json"] = canonical.dumps(told)
    return found


def shard_urls(corpus: Corpus, split: str) -> list[str]:
    """The shards of a split in order, as URLs for a tar reader; of the view of a site those that hold some of its samples.

    A shard may hold samples of other sites too: see `sampled`.

    Raises:
        UsageError: no such split.
    """
    if split not in corpus.splits:
        raise UsageError(f"{corpus.store.where()}: has the splits {sorted(corpus.splits)}, asked for {split!r}")
    return [corpus.store.where(path) for path in corpus.splits[split].urls]
