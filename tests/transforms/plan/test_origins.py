from __future__ import annotations

from schemas.licenses import UNSTATED
from schemas.source import Source
from schemas.terms import Terms, license_of
from transforms.plan.origins import Link, linked

LUNA = Source.model_validate(
    {
        "id": "luna16",
        "title": "LUNA16",
        "catalog": "luna16",
        "terms": {"license": "CC-BY-4.0"},
        "patient": {"namespace": "lidc"},
        "layout": {"kind": "paired", "images": [{"name": "ct", "modality": "CT", "path": "{case}.nii.gz"}]},
    }
)
TERMS = {"lidc-idri": Terms(license="CC-BY-3.0")}


def ids(source):
    return [o.id for o in source.origins]


def test_a_re_release_has_the_terms_of_what_it_took():
    luna = linked(LUNA, [Link("luna16", "lidc-idri", "subset")], {"lidc-idri": "LIDC-IDRI"}, TERMS)
    assert [(o.id, o.title) for o in luna.origins] == [("lidc-idri", "LIDC-IDRI")]
    assert license_of(luna.terms, luna.origins, "1.2.3") == "CC-BY-4.0 AND CC-BY-3.0"


def test_an_origin_that_states_nothing_is_unknown():
    luna = linked(LUNA, [Link("luna16", "another", "subset")], {}, TERMS)
    assert license_of(luna.terms, luna.origins, "1.2.3") == f"CC-BY-4.0 AND {UNSTATED}"


def test_origins_have_origins_and_circles_end():
    links = [Link("luna16", "a", "relabelled"), Link("a", "b", "compilation"), Link("b", "luna16", "subset")]
    assert ids(linked(LUNA, links, {}, {})) == ["a", "b"]


def test_only_links_that_hand_images_on_count_and_only_downwards():
    links = [
        Link("luna16", "twin", "same-cases"),
        Link("luna16", "luna16", "duplicate-inside-dataset"),
        Link("uls23", "luna16", "cropped-reuse"),
    ]
    assert linked(LUNA, links, {}, {}) is LUNA


def test_what_the_manifest_says_stands():
    told = {"id": "lidc-idri", "title": "LIDC", "cases": ["1.*"], "terms": {"license": "CC-BY-4.0"}}
    luna = Source.model_validate({**LUNA.model_dump(mode="json"), "origins": [told]})
    same = linked(luna, [Link("luna16", "lidc-idri", "subset"), Link("lidc-idri", "older", "subset")], {}, TERMS)
    assert ids(same) == ["lidc-idri", "older"]
    assert same.origins[0].terms.license == "CC-BY-4.0"
