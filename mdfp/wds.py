"""For those who stream with plain webdataset: the decoder of this format's members.

    import webdataset as wds
    from mdfp.wds import decoder

    corpus = mdfp.open(url)
    data = wds.WebDataset(shard_urls(corpus, "train")).decode(decoder)
    for sample in data:
        sample["image.ct.b2nd"], sample["label.base.b2nd"], sample["json"]

Nothing of webdataset is imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def shard_urls(corpus: Corpus, split: str) -> list[str]:
    """The shards of a split in order, as URLs for a tar reader.

    Raises:
        UsageError: no such split.
    """
    if split not in corpus.splits:
        raise UsageError(f"{corpus.store.where()}: has the splits {sorted(corpus.splits)}, asked for {split!r}")
    return [corpus.store.where(path) for path in corpus.splits[split].urls]
