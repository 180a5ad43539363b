"""The corpus that an operator means: by its recipe, or by its address alone."""

from __future__ import annotations

from pathlib import Path

from mdfp.errors import UsageError
from pipelines.workspace import open_corpus
from transforms.store import CorpusStore, local_path


def corpus_at(target: str, out: str | None = None) -> CorpusStore:
    """Open a corpus for looking after it. Neither its sources nor the patient key are needed.

    Args:
        target: a recipe (a file ending in .yaml or .yml), or the address of a corpus.
        out: override of a recipe's `out`.

    Raises:
        UsageError: no such recipe; `out` beside an address; an address where there is no corpus.
    """
    if target.endswith((".yaml", ".yml")):
        return open_corpus(Path(target), out)[1]
    if out is not None:
        raise UsageError(f"--out {out}: goes with a recipe; {target} is the address of a corpus already")
    if (folder := local_path(target)) is not None and not folder.is_dir():
        raise UsageError(
            f"{target}: expected a recipe (.yaml) or the folder of a corpus, found "
            f"{'a file' if folder.exists() else 'nothing'}"
        )
    corpus = CorpusStore(target)
    if not corpus.exists("corpus.json"):
        raise UsageError(f"{target}: there is no corpus here (no corpus.json); give the recipe's `out`, or the recipe")
    return corpus
