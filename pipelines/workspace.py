"""What every command needs: the recipe, its sources and their buckets, the corpus, the patient key."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from catalog import origins
from catalog import sources as catalog_sources
from mdfp import canonical
from mdfp.errors import UsageError
from schemas import recipe as recipes
from schemas.place import Access, Place
from schemas.recipe import Recipe
from schemas.source import Source
from schemas.suggest import nearest
from transforms import commit, patient_key, probe
from transforms.archive_store import open_source
from transforms.pseudonym import PatientKeys
from transforms.store import CorpusStore, SourceStore, local_path

CLAIM = "corpus.json"
"""Written first, once: whose folder this is."""


@dataclass(frozen=True)
class Workspace:
    """A recipe with everything it names found.

    Attributes:
        recipe: as written, `out` included.
        recipe_path: its file, for messages and for the command that resumes.
        sources: manifests by id.
        roots: address of each source's files, by id.
        corpus: where the corpus lies.
        keys: pseudonyms.
    """

    recipe: Recipe
    recipe_path: Path
    sources: Mapping[str, Source]
    roots: Mapping[str, str]
    corpus: CorpusStore
    keys: PatientKeys

    def stores(self, without: Container[str] = ()) -> dict[str, SourceStore]:
        """An open bucket for each source but those in `without`.

        Raises:
            UsageError: a root is missing or is not a folder.
        """
        limits = self.recipe.limits
        return {i: open_source(place, self.sources[i], limits) for i, place in self.places.items() if i not in without}

    @property
    def places(self) -> dict[str, Place]:
        """The same addresses with how each is entered: what workers open."""
        access = {use.id: use.access for use in self.recipe.sources}
        return {i: Place(root, access[i]) for i, root in self.roots.items()}

    @property
    def tables(self) -> dict[str, Path]:
        """File of the published table of each source whose inventory is deferred.

        Raises:
            UsageError: such a source has no table, or another has one.
        """
        result: dict[str, Path] = {}
        for use in self.recipe.sources:
            deferred = self.sources[use.id].inventory == "deferred"
            if deferred and use.table is None:
                raise UsageError(
                    f"{self.recipe_path}: {use.id}: its inventory is deferred, so it needs table: <file.parquet>, the published "
                    "table of its series; python -m pipelines catalog idc makes one"
                )
            if not deferred and use.table is not None:
                raise UsageError(
                    f"{self.recipe_path}: {use.id}: table: is for a manifest with inventory: deferred, found inventory: full"
                )
            if use.table is not None:
                result[use.id] = Path(_beside(use.table, self.recipe_path.resolve().parent))
        return result

    def claim(self) -> None:
        """Make the output folder this corpus's own, before anything is written to it.

        Raises:
            UsageError: it holds another corpus, or something else.
            PreconditionsError: its store lets two writers replace each other's objects.
        """
        check_claim(self.recipe, self.corpus)
        probe.require(self.corpus)
        content = {"format": "mdfp-corpus", "corpus": self.recipe.corpus}
        commit.create_same(canonical.pretty(content), self.corpus, CLAIM)


def check_claim(recipe: Recipe, corpus: CorpusStore) -> None:
    """Raise when the output folder belongs to something else.

    Raises:
        UsageError: it holds another corpus, or files that are no corpus's.
    """
    owner = _owner(corpus)
    if owner is None and corpus.folder is not None and corpus.folder.is_file():
        raise UsageError(f"out: {recipe.out} is a file; a folder or URL is needed")
    if owner is None and _holds_something(corpus):
        owner = _owner(corpus)  # another run of this recipe may have begun between the two looks
        if owner is None:
            raise UsageError(
                f"out: {recipe.out} is not empty and holds no corpus; choose an empty or new folder, so that nothing "
                "of yours is mixed with it"
            )
    if owner is not None and owner != recipe.corpus:
        raise UsageError(
            f"out: {recipe.out} holds the corpus {owner!r}, the recipe builds {recipe.corpus!r}; choose another out:"
        )


def _owner(corpus: CorpusStore) -> str | None:
    """Name of the corpus that a place was claimed for; None where none was."""
    try:
        return str(json.loads(corpus.read(CLAIM)).get("corpus"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _holds_something(corpus: CorpusStore) -> bool:
    if corpus.folder is None:
        return not corpus.is_empty()
    return corpus.folder.is_dir() and any(not f.name.startswith(commit.PART_PREFIX) for f in corpus.folder.iterdir())


def open_workspace(recipe_path: Path, roots: Sequence[str] = (), out: str | None = None) -> Workspace:
    """Load a recipe and find everything it names. Nothing is written but, once, a new patient key.

    Where it goes must be new or this corpus's own, whatever the command is: another one's plan must not be built.

    Args:
        recipe_path: the recipe.
        roots: `ID=URL` overrides from the command line.
        out: override of the recipe's `out`.

    Raises:
        UsageError: with file, line and remedy.
    """
    recipe, corpus = open_corpus(recipe_path, out)
    folder = recipe_path.resolve().parent
    sources = origins.all_in_force(catalog_sources.resolve_all(recipe, folder))
    _check_space(recipe, sources, recipe_path)
    return Workspace(recipe, recipe_path, sources, _roots(recipe, roots, folder), corpus, patient_key.load())


def open_corpus(recipe_path: Path, out: str | None = None) -> tuple[Recipe, CorpusStore]:
    """Load a recipe and open the place of its corpus, which must be new or this corpus's own; sources are not looked for.

    Args:
        recipe_path: the recipe.
        out: override of the recipe's `out`.

    Raises:
        UsageError: with file, line and remedy.
    """
    recipe = recipes.load(recipe_path)
    if out is not None:
        # On the command line a path is relative to where one stands, in a recipe to the recipe.
        recipe = recipe.model_copy(update={"out": str(Path(out).absolute()) if local_path(out) is not None else out})
    corpus = CorpusStore(Place.of_corpus(_beside(recipe.out, recipe_path.resolve().parent), recipe.out_access))
    check_claim(recipe, corpus)
    return recipe, corpus


def _roots(recipe: Recipe, overrides: Sequence[str], folder: Path) -> dict[str, str]:
    ids = [use.id for use in recipe.sources]
    given: dict[str, str] = {}
    for override in overrides:
        source, equals, url = override.partition("=")
        if not equals or not url:
            raise UsageError(
                f"--root {override}: expected SOURCE=PATH_OR_URL, for example --root {ids[0]}=/data/{ids[0]}"
            )
        if source not in ids:
            raise UsageError(f"--root {override}: the recipe has no source {source!r}{nearest(source, ids)}")
        given[source] = str(Path(url).resolve()) if local_path(url) is not None else url
    result: dict[str, str] = {}
    for use in recipe.sources:
        root = given.get(use.id) or (_beside(_expanded(use.root, use.id), folder) if use.root else None)
        if root is None:
            raise UsageError(
                f"where are the files of {use.id!r}? Say so with --root {use.id}=PATH_OR_URL, or with root: in the recipe"
            )
        result[use.id] = root
    return result


def _expanded(root: str, source: str) -> str:
    """`root` with `${NAME}` replaced by the environment's value.

    Raises:
        UsageError: the variable is not set.
    """
    try:
        return Template(root).substitute(os.environ)
    except KeyError as error:
        raise UsageError(
            f"root of {source!r}: {root!r} needs the environment variable {error.args[0]}, which is not set; set it, or say "
            f"where the files are with --root {source}=PATH_OR_URL"
        ) from error
    except ValueError:
        return root  # a lone dollar sign is part of the name


def place_beside(url: str, name: str, folder: Path, access: Access) -> Place:
    """The place that a file names: `${NAME}` stands for the environment's value, a relative path is relative to the file.

    Args:
        url: as written.
        name: what messages call it.
        folder: of the file.
        access: how its bucket is entered.

    Raises:
        UsageError: a variable is not set, or the URL carries credentials or a query.
    """
    return Place(_beside(_expanded(url, name), folder), access)


def _beside(url: str, folder: Path) -> str:
    """A relative path in a recipe is relative to the recipe."""
    path = local_path(url)
    return url if path is None else str(folder / path.expanduser())


def _check_space(recipe: Recipe, sources: Mapping[str, Source], recipe_path: Path) -> None:
    if recipe.labels.image_only:
        return
    annotated = {s for source in sources.values() for s in source.annotated()}
    space = recipe.labels.space
    if not annotated and space:
        asked = ", ".join(space) if isinstance(space, tuple) else f"the {space.policy}"
        raise UsageError(
            f"{recipe_path}: labels.space asks for {asked}, but no source has labels; write labels: image_only"
        )
