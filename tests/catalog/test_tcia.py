"""Manifests of TCIA's collections: against a tree as its downloader writes one, and against the Imaging Data Commons' table."""

from __future__ import annotations

import importlib.util

import pytest

from catalog import sources
from catalog.idc import Archive, Selection
from schemas.recipe import Limits
from tests.catalog import tcia_tree
from transforms import layouts
from transforms.inventory_series import group_key, inventory_series, read_header
from transforms.pseudonym import PatientKeys
from transforms.store import SourceStore

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")


def test_these_are_all():
    found = {i for i in sources.ids() if sources.load(i).patient.namespace == "tcia"}
    assert found == set(tcia_tree.SOURCES)


@pytest.mark.parametrize("source_id", tcia_tree.SOURCES)
def test_its_ct_are_cases_of_their_patients(source_id, tmp_path):
    expected = tcia_tree.write(tmp_path, source_id)
    source, store = sources.load(source_id), SourceStore(str(tmp_path))
    grouped = layouts.group(source, list(store.list()), store.read, KEYS)
    assert not grouped.rejects
    assert grouped.counts.balanced()
    series: dict = {}
    for file in grouped.headers:
        read = read_header(file, store)
        series.setdefault(group_key(read), []).append(read)
    found = [f for group in series.values() for f in inventory_series(group, source, store, KEYS, Limits())]
    cases = {f.case.series: f.case for f in found if f.case is not None}
    assert {s: c.patient for s, c in cases.items()} == {
        KEYS.uid(uid): KEYS.patient("tcia", patient) for uid, patient in expected.items()
    }
    assert {i.modality for c in cases.values() for i in c.images} == {"CT"}
    assert {str(r.reason) for f in found for r in f.rejects} == {"not_selected"}  # the PET
    assert {c.license for c in cases.values()} == {source.terms.license}


@pytest.mark.parametrize("source_id", [*tcia_tree.SOURCES, "lidc-idri"])
def test_its_terms_are_those_that_the_archive_states(source_id):
    if importlib.util.find_spec("idc_index_data") is None:
        pytest.skip("the extra idc is not installed")
    source = sources.load(source_id)
    collection = {"anti-pd-1-lung": "anti_pd_1_lung"}.get(source_id, source_id.replace("-", "_"))
    chosen = Selection(modalities=("CT",), collections=(collection,), where="analysis_result_id is null")
    selected = Archive().select(chosen)
    facts = selected.facts()
    assert {c.value for c in facts.licenses} == {source.terms.license}
    if source_id != "lidc-idri":  # which cites its paper
        assert source.terms.citation == tuple(c.text for c in selected.citations())
        assert f"its {facts.series:,} CT series of {facts.patients:,} people" in source.known_issues[0]
