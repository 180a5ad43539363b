"""The phantom sources fused by a policy: the label space, the report and every class, against the generator's truth."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

import mdfp
from mdfp.errors import UsageError
from mdfp.fusion import Severity
from mdfp.labels import State
from pipelines import labels as labelling
from pipelines.plan import read_latest
from tests.pipelines.conftest import CHECKOUT, RECIPE
from transforms.fusion.report import require_resolved

FINE = {"policy": "coarse-to-fine"}


def recipe_with(folder, labels):
    """The demo's recipe with other labels."""
    content = yaml.safe_load(RECIPE.read_text())
    content["labels"] = labels
    for source in content["sources"]:
        source["manifest"] = str(CHECKOUT / "examples" / "sources" / f"{source['id']}.yaml")
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def fused(build_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fused")
    return build_corpus(folder / "corpus", recipe=recipe_with(folder, {"space": FINE}))


def test_the_plan_and_the_manifest_hold_the_space_and_its_policy(fused):
    opened = mdfp.open(str(fused.folder))
    fusion = opened.manifest.fusion
    assert fusion is not None
    assert (fusion.policy, fusion.space) == ("coarse-to-fine", ("kidney", "liver", "spleen"))
    assert opened.manifest.label_space == fusion.space == opened.label_space().names
    assert read_latest(fused.workspace).fusion == fusion == labelling.of_recipe(fused.workspace.recipe_path)
    assert {c.id for c in fusion.conflicts} == {"kidney", "liver+liver_tumour"}


def test_every_class_is_what_the_generator_drew(fused):
    opened = mdfp.open(str(fused.folder))
    told, compared = {State.PRESENT: 0, State.ABSENT: 0, State.UNKNOWN: 0}, 0
    for sample in fused.samples:
        truth = {s.structure: s for s in fused.truth_of(sample.case_id).structures}
        one = opened.sample(sample.key)
        mask, channels = one.classes(), one.multi_hot()
        voxel_mm3 = abs(np.linalg.det(one.affine()[:3, :3]))
        for number, name in enumerate(opened.label_space().names):
            known = truth[name]
            volume = float((channels[number] == 1).sum() * voxel_mm3)
            if known.state is State.PRESENT:
                # Dolls have organs of a few voxels; an eighth covers the rounding of those of 150 and more.
                if known.whole_mm3 > 150 * voxel_mm3:
                    assert volume == pytest.approx(known.whole_mm3, rel=0.125), (sample.key, name)
                    compared += 1
                assert volume > 0
                np.testing.assert_array_equal(channels[number] == 1, mask == number + 1)
            elif known.state is State.ABSENT:
                assert not (channels[number] != 0).any(), (sample.key, name)
            else:
                assert known.state is State.UNKNOWN
                assert volume == 0
            told[known.state] += 1
    assert min(compared, told[State.PRESENT], told[State.UNKNOWN]) > 3
    assert told[State.ABSENT]


def test_what_one_source_does_not_divide_is_one_marginal_group(fused):
    opened = mdfp.open(str(fused.folder))
    sides = ["kidney_left", "kidney_right", "liver"]
    seen = set()
    for sample in fused.samples:
        states = {s.structure: s.state for s in fused.truth_of(sample.case_id).structures}
        found = opened.sample(sample.key).marginal(sides)
        if states["liver"] is State.PRESENT:
            if states["kidney_left"] is State.MERGED:
                assert found.groups == ((0,), (1, 2), (3,))
                seen.add("merged")
            elif {states["kidney_left"], states["kidney_right"]} <= {State.PRESENT, State.ABSENT}:
                assert found.groups == ((0,), (1,), (2,), (3,))
                seen.add("apart")
            else:
                assert found.groups == ((0, 1, 2), (3,))
                seen.add("unknown")
    assert seen == {"merged", "apart", "unknown"}


def test_the_report_shows_matrix_and_conflicts(fused):
    html = (fused.folder / "report.html").read_text()
    assert 'id="label-space"' in html
    assert "does the mask of liver hold liver_tumour?" in html
    assert "in kidney" not in html.split('id="label-space"')[0]


def test_the_command_prints_the_report_and_one_line_for_machines(tmp_path):
    path = recipe_with(tmp_path, {"space": FINE})
    words = [sys.executable, "-m", "pipelines", "labels", str(path)]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "label space (coarse-to-fine): kidney, liver, spleen" in done.stdout
    done = subprocess.run([*words, "--json"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    content = json.loads(done.stdout)
    assert content["space"] == ["kidney", "liver", "spleen"]
    assert (content["errors"], content["warnings"]) == ([], ["liver+liver_tumour"])


def test_a_class_of_two_meanings_stops_the_plan_and_a_word_in_the_recipe_lets_it_pass(tmp_path):
    folder = tmp_path / "sources"
    folder.mkdir()
    for source in (CHECKOUT / "examples" / "sources").glob("phantom-*.yaml"):
        content = yaml.safe_load(source.read_text())
        if source.stem == "phantom-mr":
            content["labels"]["sides"]["excludes"] = {"liver": ["liver_tumour"]}
            content["labels"]["merged"]["excludes"] = {"liver": ["liver_tumour"]}
        (folder / source.name).write_text(yaml.safe_dump(content))
    content = yaml.safe_load(recipe_with(tmp_path, {"space": FINE}).read_text())
    for source in content["sources"]:
        source["manifest"] = f"sources/{source['id']}.yaml"
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=r"liver\+liver_tumour: keep"):
        require_resolved(labelling.of_recipe(path))
    words = [sys.executable, "-m", "pipelines", "labels", str(path)]
    assert subprocess.run(words, cwd=CHECKOUT, capture_output=True, check=False).returncode == 1
    content["labels"]["resolve"] = {"liver+liver_tumour": "keep"}
    path.write_text(yaml.safe_dump(content))
    decided = labelling.of_recipe(path)
    require_resolved(decided)
    assert {c.id: c.severity for c in decided.conflicts}["liver+liver_tumour"] is Severity.SETTLED
