"""How the report's pictures get at the pixels of a published corpus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from expectations.pictures import Read
from mdfp.corpus import open as open_corpus
from mdfp.opened import OpenSample
from mdfp.picture import shown_frame
from mdfp.sample import Sample, SampleImage
from transforms.store import CorpusStore


def reader(store: CorpusStore) -> Read:
    """Reads an image of a sample, as stored, of one over time the time point to show; and the masks on its grid."""
    corpus = open_corpus(store.root)

    def read(sample: Sample, image: SampleImage) -> tuple[npt.NDArray[Any], Sequence[npt.NDArray[Any]]]:
        opened = OpenSample(corpus, sample)  # the index is not read for a dozen pictures
        masks = [opened.label(label.layer) for label in sample.labels if label.image == image.name]
        frame = shown_frame(image) if image.axes == "tzyx" else None
        return opened.image(image.name, values="stored", frame=frame), masks

    return read
