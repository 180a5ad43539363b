"""Wrong use: one clear message with the remedy on standard error, exit code 2, no traceback, and nothing written."""

from __future__ import annotations

import shutil

import pytest
import yaml
from typer.testing import CliRunner

from examples.phantom.manifests import FOLDER
from pipelines.cli import app

TASKS = "phantom-ct-msd"


@pytest.fixture
def recipe(tmp_path, bucket):
    """Write a recipe of one source with some keys changed; returns its path."""
    manifests = bucket.folder.parent / "manifests"
    manifests.mkdir(exist_ok=True)
    shutil.copy(FOLDER / f"{TASKS}.yaml", manifests / f"{TASKS}.yaml")

    def write(**changes):
        content = {
            "corpus": "wrong-use",
            "out": str(tmp_path / "out"),
            "sources": [
                {"id": TASKS, "root": str(bucket.folder / TASKS), "manifest": str(manifests / f"{TASKS}.yaml")}
            ],
            "terms": {"accept": ["CC-BY-4.0"]},
            "geometry": {"spacing_mm": [1.5, 1.5, 1.5]},
            "labels": {"space": ["liver", "spleen"]},
        }
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in (content | changes).items() if v is not None}))
        return path

    return write


@pytest.fixture
def call():
    def run(*words):
        return CliRunner().invoke(app, [str(w) for w in words], prog_name="python -m pipelines")

    return run


def written_below(folder):
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*")) if folder.exists() else []


def check_refused(result, *wanted, code=2):
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert result.stdout == ""
    for text in wanted:
        assert text in result.stderr, result.stderr


WRONG_RECIPES = {
    "a misspelt structure": ({"labels": {"space": ["liver", "spleeen"]}}, ["'spleeen'", "did you mean 'spleen'"]),
    "a licence nobody knows": ({"terms": {"accept": ["CC-BY-4"]}}, ["CC-BY-4", "CC-BY-4.0"]),
    "splits that sum to 1.2": ({"splits": {"train": 0.9, "val": 0.1, "test": 0.2}}, ["must be 1", "1.2"]),
    "a spacing of zero": ({"geometry": {"spacing_mm": [1.5, 1.5, 0]}}, ["between 0.01 and 100 mm", "found 0"]),
    "a key that is none": ({"geometri": {}}, ["geometri", "geometry"]),
    "no sources": ({"sources": []}, ["sources"]),
    "a source twice": ({"sources": [{"id": TASKS}, {"id": TASKS}]}, ["named twice"]),
    "a source nobody knows": ({"sources": [{"id": "msd-task09-splen", "root": "."}]}, ["did you mean 'msd-task09-spleen'"]),
    "a window upside down": ({"intensity": {"CT": {"window_hu": [100, -100]}}}, ["lower must be below upper"]),
    "a test source that is not taken": ({"splits": {"train": 0.9, "val": 0.1, "test": {"sources": ["btcv"]}}}, ["btcv"]),
    "a reference nobody knows": ({"geometry": {"grid": {"reference": "CTT"}}}, ["expected one of CT, MR, PT", "'CTT'"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_RECIPES)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_wrong_recipe_is_refused_with_file_and_remedy(case, command, recipe, call, tmp_path):
    changes, wanted = WRONG_RECIPES[case]
    path = recipe(**changes)
    check_refused(call(command, path), "recipe.yaml" if case != "a source nobody knows" else "", *wanted)
    assert written_below(tmp_path) == ["recipe.yaml"]


def test_a_recipe_that_is_not_there_or_no_yaml(recipe, call, tmp_path):
    check_refused(call("run", tmp_path / "none.yaml"), "none.yaml")
    path = recipe()
    path.write_text("corpus: [unclosed\n")
    check_refused(call("run", path), "recipe.yaml")
    path.write_text("")
    check_refused(call("run", path), "recipe.yaml")


WRONG_WORDS = {
    "a root that is not there": (["--root", f"{TASKS}=/nowhere/at/all"], ["/nowhere/at/all", "expected a folder", "--root"]),
    "a root of a source that is not in the recipe": (["--root", "phantom-ct-msx=."], ["did you mean 'phantom-ct-msd'"]),
    "a root without a source": (["--root", "/data"], ["expected SOURCE=PATH_OR_URL", f"--root {TASKS}="]),
    "no cases at all": (["--limit", "0"], ["--limit"]),
    "no workers": (["--workers", "0"], ["--workers 0", "at least 1"]),
    "more holes than there are cases": (["--max-holes", "1.5"], ["--max-holes"]),
    "an option that is none": (["--max-hole", "0.5"], ["--max-hole"]),
    "an engine that changes silently": (["--", "--runner=DirectRunner"], ["DirectRunner", "leave --runner out"]),
    "the same in two words": (["--", "--runner", "DirectRunner"], ["DirectRunner", "leave --runner out"]),
    "a main session": (["--", "--save_main_session"], ["--save_main_session", "leave it out"]),
    "a word that is no Beam option": (["--", "runner=FnApiRunner"], ["--name=value", "'runner=FnApiRunner'"]),
    "a runner nobody knows": (["--", "--runner=SparkleRunner"], ["SparkleRunner"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_WORDS)
def test_wrong_words_on_the_command_line_are_refused(case, recipe, call, tmp_path):
    words, wanted = WRONG_WORDS[case]
    check_refused(call("run", recipe(), *words), *wanted)
    assert written_below(tmp_path) == ["recipe.yaml"]


def test_a_root_that_nobody_gave(recipe, call, tmp_path):
    manifest = yaml.safe_load(recipe().read_text())["sources"][0]["manifest"]
    path = recipe(sources=[{"id": TASKS, "manifest": manifest}])
    check_refused(call("run", path), f"where are the files of '{TASKS}'", "--root", "root:")
    assert written_below(tmp_path) == ["recipe.yaml"]


def test_a_root_whose_variable_is_not_set(recipe, call, tmp_path, monkeypatch):
    monkeypatch.delenv("PHANTOM_PLACE", raising=False)
    manifest = yaml.safe_load(recipe().read_text())["sources"][0]["manifest"]
    path = recipe(sources=[{"id": TASKS, "manifest": manifest, "root": "${PHANTOM_PLACE}/x"}])
    check_refused(call("run", path), "PHANTOM_PLACE", "not set")
    assert written_below(tmp_path) == ["recipe.yaml"]


def test_a_root_that_holds_something_else(recipe, call, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.txt").write_text("miau")
    before = written_below(tmp_path)
    result = call("run", recipe(), "--root", f"{TASKS}={tmp_path / 'photos'}")
    check_refused(result, TASKS, "photos", "--root")
    assert written_below(tmp_path) == [*before, "recipe.yaml"]


@pytest.mark.parametrize("command", ["inventory", "plan", "build", "publish", "run", "status", "repair"])
def test_a_folder_that_holds_another_corpus(command, recipe, call, corpus):
    before = written_below(corpus.folder)
    result = call(command, recipe(), "--out", corpus.folder)
    check_refused(result, "holds the corpus 'phantom-demo'", "builds 'wrong-use'", "choose another out")
    assert written_below(corpus.folder) == before


@pytest.mark.parametrize("command", ["inventory", "plan", "build", "publish", "run", "status", "repair"])
def test_a_folder_that_holds_something_of_ones_own(command, recipe, call, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.docx").write_text("years of work")
    result = call(command, recipe())
    check_refused(result, "not empty and holds no corpus", "choose an empty or new folder")
    assert written_below(tmp_path / "out") == ["thesis.docx"]


def test_an_output_that_is_a_file(recipe, call, tmp_path):
    (tmp_path / "out").write_text("a file")
    check_refused(call("run", recipe()), "is a file", "a folder or URL")


@pytest.mark.parametrize(
    ("command", "code", "wanted"),
    [
        ("plan", 2, ["no inventory yet", "python -m pipelines inventory"]),
        ("build", 2, ["no plan yet", "python -m pipelines plan"]),
        ("publish", 2, ["no plan yet", "python -m pipelines plan"]),
        ("repair", 2, ["nothing is published"]),
    ],
)
def test_a_stage_before_the_one_it_needs(command, code, wanted, recipe, call, tmp_path):
    check_refused(call(command, recipe()), *wanted, code=code)
    assert written_below(tmp_path) == ["recipe.yaml"]


def test_publish_before_build_and_an_unknown_case(recipe, call, tmp_path):
    path = recipe()
    assert call("inventory", path, "--quiet").exit_code == 0
    check_refused(
        call("plan", path, "--quiet", "--only", "nobody"), "--only nobody", "neither a source (phantom-ct-msd)"
    )
    assert call("plan", path, "--quiet").exit_code == 0
    before = written_below(tmp_path)
    check_refused(call("publish", path, "--quiet"), "not committed", "run build", code=1)
    assert written_below(tmp_path) == before


def test_terms_that_are_not_accepted_leave_nothing_to_build(recipe, call):
    result = call("run", recipe(terms={"accept": ["CC0-1.0"]}), "--quiet")
    assert result.exit_code == 1
    assert "terms_refused" in result.output
    assert "CC0-1.0" in result.output
