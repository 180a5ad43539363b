"""The report says what happened, opens offline, and cannot be made to run or load anything."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from expectations.pictures import Picture
from expectations.report import ReportData, render, size
from expectations.validate import validate_samples
from schemas.case import Reject
from schemas.reasons import Reason

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
VOID = {"meta", "br", "img", "link", "input", "hr"}
EVIL = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Text, tags and attributes of a page; checks that tags nest."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def data(manifest, samples, rejects, holes, palette) -> ReportData:
    planned = {s.case_id for s in samples} | {h.case_id for h in holes}
    outcomes = validate_samples(samples, holes, planned, palette=palette).outcomes
    found = {"msd-task09-spleen": 19, "my-mr": 9, "totalsegmentator": 17}
    worst = (Picture("totalsegmentator-002", "volume-kept: liver", PNG),)
    return ReportData(manifest, samples, rejects, outcomes, found, worst, Picture("Contact sheet", "A caption", PNG))


def test_a_person_reads_what_happened(data: ReportData) -> None:
    text = Page(render(data)).text
    assert "abdomen-ct-mr" in text
    assert "45 cases found" in text
    assert "40 samples" in text
    assert "7 left out" in text
    assert "Every gate holds; 4 warnings to look at" in text
    for reject in data.rejects:
        assert reject.reason in text
        assert Reason(reject.reason).meaning in text
        assert reject.detail in text
    assert "totalsegmentator-002/liver" in text
    assert "Antonelli M. et al." in text
    assert "8 unknown" in text
    assert "5 · 9 absent" in text
    assert "CC-BY-SA-4.0" in text


def test_every_part_can_be_reached_from_the_top(data: ReportData) -> None:
    page = Page(render(data))
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = {a["href"] for t, a in page.tags if t == "a" and (a["href"] or "").startswith("#")}
    assert {link[1:] for link in links if link} == ids
    assert ids == {
        "sources", "left-out", "findings", "expectations", "worst", "geometry", "intensity", "structures", "terms", "contact-sheet",
    }  # fmt: skip


def test_nothing_is_loaded_from_anywhere(data: ReportData) -> None:
    html = render(data)
    page = Page(html)
    assert not {t for t, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert "srcset" not in attributes
        if "src" in attributes:
            assert tag == "img"
            assert (attributes["src"] or "").startswith("data:image/png;base64,")
        if "href" in attributes:
            assert tag == "a"
    assert "@import" not in html
    assert "url(" not in html
    assert "@font-face" not in html
    assert any("default-src 'none'" in (a.get("content") or "") for t, a in page.tags if t == "meta")


def test_equal_records_give_equal_bytes_without_clock_or_path(data: ReportData, monkeypatch, tmp_path) -> None:
    first = render(data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert render(data) == first
    assert str(tmp_path) not in first
    assert not re.search(r"\b\d\d:\d\d(:\d\d)?\b", Page(first).text)


def test_markup_in_names_is_shown_and_not_run(data: ReportData) -> None:
    samples = [replace(data.samples[0], key=EVIL, case_id=EVIL, source=EVIL, warnings=(EVIL,))]
    outcomes = validate_samples(samples, [], [EVIL]).outcomes
    terms = (replace(data.manifest.terms[0], source=EVIL, title=EVIL, citation=(EVIL,), url="javascript:alert(1)"),)
    evil = ReportData(
        replace(data.manifest, corpus=EVIL, terms=terms, recipe=EVIL),
        samples,
        [Reject("build", EVIL, EVIL, Reason.UNREADABLE, EVIL, EVIL)],
        outcomes,
        {EVIL: 1},
        (Picture(EVIL, EVIL, PNG),),
        Picture(EVIL, EVIL, PNG),
    )
    html = render(evil)
    page = Page(html)
    assert "<script" not in html
    assert EVIL in page.text
    assert not any((a.get("href") or "").startswith("javascript") for _, a in page.tags)
    assert "javascript:alert(1)" in page.text


def test_a_failed_gate_is_the_first_thing_to_read(data: ReportData, with_image) -> None:
    bad = [with_image(data.samples[0], {"minimum": -4000.0}), *data.samples[1:]]
    outcomes = validate_samples(bad, [], {s.case_id for s in bad}).outcomes
    text = Page(render(replace(data, outcomes=outcomes))).text
    assert "Not fit to publish: 1 gate does not hold" in text
    assert text.index("gate failed") < text.index("No CT value lies below -1024 HU") < text.index("warning Resampling")


def test_an_empty_corpus_has_a_report_too(manifest) -> None:
    bare = replace(manifest, shards=(), indexes=(), splits=(), holes=(), terms=(), palette=())
    text = Page(render(ReportData(bare, []))).text
    assert "Nothing was left out." in text
    assert "No expectations were checked." in text


def test_a_reason_of_another_version_is_shown_by_its_code(data: ReportData) -> None:
    strange = replace(data.rejects[0], reason="from_the_future")
    assert "from_the_future" in Page(render(replace(data, rejects=[strange]))).text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (171_000_000, "171 MB"), (5.2e15, "5200 TB")],
)
def test_bytes_are_said_for_people(number: float, text: str) -> None:
    assert size(number) == text
