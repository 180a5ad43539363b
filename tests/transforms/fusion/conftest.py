from __future__ import annotations

import pytest

from schemas.recipe import Labels
from schemas.source import Source
from transforms.fusion.report import fuse


def table(*structures, **more):
    """A map of integers that draws these."""
    return {"origin": "expert", "values": {0: "background", **dict(enumerate(structures, start=1))}, **more}


def source(name, *tables):
    """A source whose cases have one or several label files on one image."""
    return Source.model_validate(
        {
            "id": name,
            "title": name,
            "patient": {"namespace": name},
            "layout": {
                "kind": "paired",
                "images": [{"name": "ct", "modality": "CT", "path": "{case}.nii.gz"}],
                "labels": [
                    {"table": f"t{n}", "image": "ct", "path": f"t{n}/{{case}}.nii.gz"} for n in range(len(tables))
                ],
            },
            "labels": {f"t{n}": t for n, t in enumerate(tables)},
        }
    )


def fused(space, *sources, **labels):
    return fuse(Labels.model_validate({"space": space, **labels}), sources)


@pytest.fixture(scope="session")
def made():
    """Makers of tables, sources and fusions."""

    class Made:
        table = staticmethod(table)
        source = staticmethod(source)
        fused = staticmethod(fused)

    return Made
