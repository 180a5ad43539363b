"""mdfp: open a corpus of medical images by URL and stream it.

>>> import mdfp
>>> corpus = mdfp.open("s3://my-bucket/abdomen-ct")       # doctest: +SKIP
>>> for sample in corpus.loader("train", seed=0):          # doctest: +SKIP
...     sample.image("ct"), sample.classes(["liver", "spleen"])

This package only reads. Corpora are built from the project's checkout with `python -m pipelines`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mdfp.corpus import Corpus, open
    from mdfp.labels import State

__all__ = ["Corpus", "State", "__version__", "open"]

_HOMES = {"Corpus": "mdfp.corpus", "open": "mdfp.corpus", "State": "mdfp.labels"}


def __getattr__(name: str) -> Any:
    # Public names are found on first use, so that `import mdfp` costs next to nothing.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mdfp' has no attribute {name!r}")
