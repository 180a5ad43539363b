"""The law of added labels, on states alone: one after the other says what all together say."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mdfp.sample import Sample
from schemas import ontology
from schemas.recipe import Labels
from schemas.source import LabelTable
from transforms.added import includes_of
from transforms.labels import palette as palettes
from transforms.labels.joined import joined, with_palette
from transforms.labels.label import LabelPart, NormalisedLabels, normalise_labels
from transforms.labels.palette import Palette
from transforms.volume import Volume

SHAPE = (3, 4, 5)
STRUCTURES = ("kidney", "kidney_left", "kidney_right", "liver", "liver_tumour", "lung", "lung_left", "spleen")
IGNORED = 9

tables = st.lists(st.sampled_from(STRUCTURES), min_size=1, max_size=3, unique=True)
arrays = hnp.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 0, 0, 1, 2, 3, IGNORED]))
looked = st.sampled_from(["all", "values_present"])


def part(
    case_label: Any, affine: Any, origin: str, drawn: list[str], array: Any, how: str, fact: bool = False
) -> LabelPart:
    values = {0: "background"} | dict(enumerate(drawn, start=1))
    mask = np.where((array == IGNORED) | (array <= len(drawn)), array, 0).astype(np.uint8)
    holds = {"liver": ["liver_tumour"]} if fact and "liver" in drawn and "liver_tumour" not in drawn else {}
    table = LabelTable.model_validate(
        {
            "includes": holds,
            "values": values,
            "ignore": (IGNORED,),
            "looked_for": how,
            "origin": "expert" if "reader" in origin else origin,
        }
    )
    name = "read" if "reader" in origin else origin
    return LabelPart(case_label(name, origin=origin), table, ((Volume(mask, affine), None),))


def record(made: NormalisedLabels) -> Sample:
    empty = {f.name: () for f in dataclasses.fields(Sample)}
    return Sample(**empty | {"structures": made.states, "others": made.others, "readings": made.readings})  # type: ignore[arg-type]


def plain(states: Any) -> list[Any]:
    """Statements without integers and names of layers, which a palette and a build number in their own ways."""
    bare = (dataclasses.replace(s, value=0, layer="" if s.layer else None) for s in states)
    return sorted(bare, key=repr)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_adding_a_label_is_having_had_it(image: Any, case_label: Any, oblique: Any, data: st.DataObject) -> None:
    fake = {"ct": image(SHAPE)}
    affine = fake["ct"].canonical.affine_ras
    before = []
    fact = data.draw(st.booleans())
    for origin in data.draw(st.lists(st.sampled_from(["expert", "consensus", "unknown"]), unique=True, max_size=2)):
        words = [data.draw(s) for s in (tables, arrays, looked)]
        before.append(part(case_label, affine, origin, *words, fact))
    if not fact and data.draw(
        st.booleans()
    ):  # readers are experts too, and a fact counts where all their tables state it
        table, how = data.draw(tables), data.draw(looked)
        before += [part(case_label, affine, f"reader-{n}", table, data.draw(arrays), how) for n in (1, 2)]
    words = [data.draw(s) for s in (tables, arrays, looked)]
    new = part(case_label, affine, data.draw(st.sampled_from(["model", "expert", "pseudo"])), *words)
    wanted = Labels(readers=data.draw(st.sampled_from(["keep", "half"])))

    old = palettes.build({s for p in before for s in p.table.annotated()})
    full = palettes.build(new.table.annotated(), old)
    known = ontology.load()
    base = record(normalise_labels(before, fake, old, wanted))
    entries = normalise_labels([new], fake, full, wanted).states
    facts = includes_of(SimpleNamespace(labels={str(n): p.table for n, p in enumerate(before)}))  # type: ignore[arg-type]
    grown = with_palette(base, Palette(full), known, facts)
    structures, others, _ = joined(grown, entries, "added", Palette(full))

    once = normalise_labels([*before, new], fake, full, wanted)
    assert plain(structures) == plain(once.states)
    at_once, later = ([(r.reader, plain(r.structures)) for r in x] for x in (once.readings, grown.readings))
    assert later == at_once
    if len({p.case_label.origin for p in (*before, new)}) == len(before) + 1:
        # Two labels of one hand are heard together, so what follows from both is said once.
        assert plain(others) == plain(once.others)
