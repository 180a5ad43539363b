"""A corpus with added labels is looked after as any other: checked, cleaned, repaired, taken back from, built on."""

from __future__ import annotations

import json
import shutil
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import mdfp
from mdfp.cli import app as reader_app
from mdfp.errors import CorpusError, UsageError
from mdfp.verify import verify
from mdfp.wds import added as with_added
from mdfp.wds import decoder, shard_urls
from pipelines import add_labels as adding
from pipelines import withdraw as withdrawing
from pipelines.add_labels import look
from pipelines.build import BuildOptions
from pipelines.cli import app
from pipelines.gc import collect
from pipelines.repair import repair
from pipelines.repair_labels import repair_labels
from pipelines.status import status
from pipelines.workspace import place_beside
from schemas import added_labels
from tests import added_labels as world
from transforms import commit
from transforms.withdrawn import Withdrawal


@pytest.fixture(scope="module")
def base(tmp_path_factory, console):
    """A corpus with the expert's labels, and one to which the model's were added."""
    folder = tmp_path_factory.mktemp("kept")
    made = world.make(folder / "built", console, "expert", geometry={"spacing_mm": [2.0, 2.0, 3.0]})
    shutil.copytree(made.folder, folder / "added")
    added = world.Corpus(folder / "added")
    added.add(console)
    return made, added


@pytest.fixture
def built(base, tmp_path):
    """The former, of one's own."""
    shutil.copytree(base[0].folder, tmp_path / "built")
    return world.Corpus(tmp_path / "built")


@pytest.fixture
def added(base, tmp_path):
    """The latter, of one's own."""
    shutil.copytree(base[1].folder, tmp_path / "added")
    return world.Corpus(tmp_path / "added")


def everything(folder, *parts):
    found = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    return {n: d for n, d in found.items() if not parts or n.startswith(parts)}


STATE = ("shards/", "sidecars/", "index/", "manifests/", "commits/", "rejects/", "labels/", "LATEST", "withdrawn/")
"""What must be equal however often a command died."""


def test_a_corpus_without_added_labels_has_no_trace_of_them(built):
    content = json.loads((built.out / "manifests" / "000001.json").read_text())
    assert content["schema_version"] == 2
    assert not {"sidecars", "added"} & set(content)
    for file in (built.out / "index").iterdir():
        members = pq.read_table(file)["members"].type.value_type
        assert [members.field(i).name for i in range(members.num_fields)] == [
            "name",
            "kind",
            "array",
            "offset",
            "bytes",
        ]


def test_given_twice_it_adds_nothing(added, console):
    before = everything(added.out, *STATE)
    done = added.add(console)
    assert (done.samples, done.sidecars, done.there, done.manifest) == (0, 0, 7, 2)
    assert everything(added.out, *STATE) == before


def test_a_look_writes_nothing(built):
    before = everything(built.out)
    spec = built.spec()
    todo = look(built.workspace(), spec, place_beside(spec.root, spec.layer, built.folder, spec.access))
    assert (todo.samples, todo.matched.there, todo.reasons) == (7, 0, {"missing_label": 2})
    assert everything(built.out) == before


def test_terms_states_and_layout_stand_in_the_manifest(added):
    corpus = mdfp.open(str(added.out))
    (layer,) = corpus.manifest.added
    assert (layer.layer, layer.origin, layer.sources, layer.license) == ("model", "model", ("scans",), "CC-BY-4.0")
    (terms,) = corpus.manifest.terms
    assert [(o.origin, o.what, o.license) for o in terms.origins] == [("model", "labels", "CC-BY-4.0")]
    licenses = {s.key: s.license for s in corpus.samples}
    assert licenses["scans-both"] == "own-data AND CC-BY-4.0"
    assert licenses["scans-none"] == "own-data"
    assert "A model" in (added.out / "ATTRIBUTION.md").read_text()
    shards = {s.path: s for s in corpus.manifest.shards}
    for sidecar in corpus.manifest.sidecars:
        assert sidecar.shard in shards
        assert sidecar.path.startswith(f"sidecars/{shards[sidecar.shard].split}/scans-")
    assert corpus.manifest.fusion is not None
    assert corpus.manifest.fusion.how("aorta", "scans") == "per case"


def test_snapshots_say_what_lies_in_their_shard(added):
    corpus = mdfp.open(str(added.out))
    sample = corpus.sample("scans-both")
    assert [label["layer"] for label in sample.snapshot()["labels"]] == ["base"]
    assert [label.layer for label in sample.record.labels] == ["base", "model"]


def test_loaders_and_crops_see_the_added_layer(added):
    from mdfp.crops import Crops

    corpus = mdfp.open(str(added.out))
    crops = Crops((4, 4, 4), space=["aorta"], origins=("model",), values="stored", foreground=1.0)
    seen = set()
    for item in corpus.loader(corpus.samples.where(states={"aorta": "present"}), crops=crops):
        seen |= {int(v) for crop in item for v in np.unique(crop.classes)}
    assert 1 in seen


def test_a_tar_reader_sees_the_labels_of_before_and_a_stage_adds_the_others(added):
    corpus = mdfp.open(str(added.out))
    streamed = [sample for split in corpus.splits for url in shard_urls(corpus, split) for sample in of_tar(url)]
    assert {k for s in streamed for k in s if k.startswith("label.")} == {"label.base.b2nd"}
    for sample in with_added(corpus)(streamed):
        record = corpus.sample(sample["__key__"]).record
        masks = {k: decoder(f".{k}", data) for k, data in sample.items() if k.startswith("label.")}
        assert set(masks) == {f"label.{e.layer}.b2nd" for e in record.labels}
        for label in record.labels:
            np.testing.assert_array_equal(
                masks[f"label.{label.layer}.b2nd"], corpus.sample(record.key).label(label.layer)
            )
        told = json.loads(sample["json"])
        assert (told["license"], len(told["labels"])) == (record.license, len(record.labels))
        assert {s["structure"]: s["state"] for s in told["structures"]} == {
            s.structure: s.state for s in record.structures
        }


def of_tar(url):
    """The samples of a shard as webdataset groups them: members by what follows the first dot."""
    samples: dict[str, dict] = {}
    with tarfile.open(url) as tar:
        for info in tar:
            key, _, rest = info.name.partition(".")
            samples.setdefault(key, {"__key__": key})[rest] = tar.extractfile(info).read()
    return list(samples.values())


def test_verify_finds_what_is_wrong_with_a_sidecar(added):
    corpus = mdfp.open(str(added.out))
    sidecar = corpus.manifest.sidecars[0]
    file = added.out / sidecar.path
    content = bytearray(file.read_bytes())
    content[700] ^= 1
    file.write_bytes(bytes(content))
    assert any(f.file == sidecar.path and f.what == "sha256" for f in verify(mdfp.open(str(added.out))))
    file.unlink()
    assert [(f.file, f.found) for f in verify(mdfp.open(str(added.out)))] == [(sidecar.path, "missing")]
    key = next(s.key for s in corpus.samples if any(m.shard == sidecar.path for m in s.members))
    with pytest.raises(CorpusError, match="not there"):
        mdfp.open(str(added.out)).sample(key).label("model")


def test_repair_names_a_lost_sidecar_and_the_masks_bring_it_back(added, console):
    corpus = mdfp.open(str(added.out))
    sidecar = corpus.manifest.sidecars[0]
    file = added.out / sidecar.path
    content = file.read_bytes()
    file.write_bytes(content[:-100])
    done = repair(added.workspace(), BuildOptions(attempts=1), deep=True, console=console)
    assert (done.damaged, done.restored) == ((sidecar.path,), ())
    assert "add-labels RECIPE LABELS --repair" in done.lost[0][1]
    spec = added.spec()
    place = place_beside(spec.root, spec.layer, added.folder, spec.access)
    again = repair_labels(added.workspace(), spec, place, BuildOptions(attempts=1))
    assert (again.restored, again.lost) == ((sidecar.path,), ())
    assert file.read_bytes() == content


def test_masks_that_changed_do_not_repair_a_sidecar(added):
    corpus = mdfp.open(str(added.out))
    sidecar = corpus.manifest.sidecars[0]
    (added.out / sidecar.path).unlink()
    for name in world.CASES:
        if (added.folder / "masks" / f"scans-{name}.nii.gz").exists():
            world.save(added.folder / "masks" / f"scans-{name}.nii.gz", world.drawn({4: world.SPLEEN}))
    spec = added.spec()
    place = place_beside(spec.root, spec.layer, added.folder, spec.access)
    done = repair_labels(added.workspace(), spec, place, BuildOptions(attempts=1))
    assert (done.restored, [path for path, _ in done.lost]) == ((), [sidecar.path])
    assert not (added.out / sidecar.path).exists()


def test_gc_keeps_what_is_named_and_finds_what_is_not(added):
    store = added.workspace().corpus
    before = everything(added.out)
    collect(store, older_than_days=0, delete=True)
    assert everything(added.out, "sidecars/", "index/", "manifests/", "shards/") == {
        n: d for n, d in before.items() if n.startswith(("sidecars/", "index/", "manifests/", "shards/"))
    }
    litter = {"sidecars/train/scans-00001.model-0123456789abcdef.tar": b"x", "labels/other/work-00.json": b"{}"}
    for name, data in litter.items():
        (added.out / name).parent.mkdir(parents=True, exist_ok=True)
        (added.out / name).write_bytes(data)
    done = collect(store, older_than_days=0, delete=True)
    assert {g.object.path: g.kind for g in done.found} == dict(zip(litter, ("sidecars", "labels"), strict=True))
    assert collect(store, older_than_days=0, delete=True).found == ()


def test_a_later_run_carries_the_labels_on(added, console):
    world.save(added.folder / "bucket" / "images" / "new.nii.gz", world.scan(40))
    world.save(added.folder / "bucket" / "expert" / "new.nii.gz", world.drawn({1: world.LIVER}))
    before = mdfp.open(str(added.out))
    added.build(console)
    after = mdfp.open(str(added.out))
    assert (after.manifest.number, after.manifest.schema_version) == (3, 3)
    assert verify(after) == []
    assert after.manifest.sidecars == before.manifest.sidecars
    assert after.manifest.added == before.manifest.added
    assert after.manifest.terms == before.manifest.terms
    assert after.manifest.palette == before.manifest.palette
    assert after.manifest.fusion == before.manifest.fusion
    assert {s.structure for s in after.sample("scans-new").record.structures} == {e.structure for e in after.palette}
    np.testing.assert_array_equal(
        before.sample("scans-both").classes(["aorta"]), after.sample("scans-both").classes(["aorta"])
    )
    # The new sample gets its labels as any other, and nobody else gets them twice.
    world.save(added.folder / "masks" / "scans-new.nii.gz", world.drawn({1: world.LIVER, 4: world.AORTA}))
    done = added.add(console)
    assert (done.samples, done.there, done.manifest) == (1, 7, 4)
    last = mdfp.open(str(added.out))
    assert verify(last) == []
    assert last.sample("scans-new").states(["aorta"]) == {"aorta": "present"}


def test_another_set_of_labels_may_follow(added, console):
    content = {"origin": "pseudo", "values": {0: "background", 1: "liver", 2: "pancreas"}}
    for name in ("both", "none"):
        world.save(added.folder / "second" / f"scans-{name}.nii.gz", world.drawn({1: world.LIVER, 2: world.SPLEEN}))
    done = added.add(console, layer="second", title="Another model", labels=content, root=str(added.folder / "second"))
    assert (done.samples, done.manifest) == (2, 3)
    corpus = mdfp.open(str(added.out))
    assert verify(corpus) == []
    assert [a.layer for a in corpus.manifest.added] == ["model", "second"]
    sample = corpus.sample("scans-both")
    assert [label.origin for label in sample.record.labels] == ["expert", "model", "pseudo"]
    assert sample.states(["liver", "pancreas"], origins=["pseudo"]) == {"liver": "present", "pancreas": "present"}
    assert sample.states(["pancreas"], origins=["model"]) == {"pancreas": "unknown"}


def test_another_publish_meanwhile_is_taken_into_account(built, console, monkeypatch):
    """Two additions at once: who loses the number adds to the winner's manifest, whose integers stay."""
    original, raced = adding._rewrite_index, []
    content = {"origin": "pseudo", "values": {0: "background", 1: "pancreas", 2: "aorta"}}
    world.save(built.folder / "second" / "scans-both.nii.gz", world.drawn({1: world.LIVER, 2: world.SPLEEN}))
    root = str(built.folder / "second")

    def race(*words):
        if not raced:
            raced.append(1)
            won = built.add(console, layer="second", title="Another model", labels=content, root=root)
            assert won.manifest == 2
        return original(*words)

    monkeypatch.setattr(adding, "_rewrite_index", race)
    done = built.add(console)
    assert (done.samples, done.manifest) == (7, 3)
    corpus = mdfp.open(str(built.out))
    assert verify(corpus) == []
    assert [a.layer for a in corpus.manifest.added] == ["model", "second"]
    assert {s.path for s in corpus.manifest.sidecars} == set(everything(built.out, "sidecars/"))
    assert not everything(built.out, "labels/")
    before = {e.structure: e.value for e in mdfp.open(str(built.out), 2).palette}
    assert before.items() <= {e.structure: e.value for e in corpus.palette}.items()
    sample = corpus.sample("scans-both")
    assert [label.layer for label in sample.record.labels] == ["base", "second", "model"]
    assert (sample.classes(["pancreas"]) == 1).any()


def take_back(corpus, console, *cases, purge=True):
    return withdrawing.withdraw(
        corpus.workspace(), Withdrawal(tuple(cases), (), ()), purge=purge, scratch=None, console=console
    )


def test_what_is_taken_back_is_gone_from_the_sidecars_too(added, console):
    corpus = mdfp.open(str(added.out))
    keys = {s.key for s in corpus.samples}
    done = take_back(added, console, "scans-both", "scans-none")
    assert (done.samples, done.manifest) == (2, 3)
    after = mdfp.open(str(added.out))
    assert verify(after) == []
    assert {s.key for s in after.samples} == keys - {"scans-both", "scans-none"}
    for name, data in everything(added.out).items():
        if name.endswith((".tar", ".parquet")) and not name.startswith(("plans/", "inventory/", "rejects/")):
            assert b"scans-both" not in data or name.startswith("index/"), name
    for entry in after.manifest.indexes:
        assert "scans-both" not in pq.read_table(added.out / entry.path)["key"].to_pylist()
    listed = pq.read_table(added.out / "rejects" / "000002-model.parquet")["case_id"].to_pylist()
    assert sorted(listed) == ["scans-expert"]
    assert {f.name for f in (added.out / "index").iterdir()} == {e.path[6:] for e in after.manifest.indexes}
    assert {s.path for s in after.manifest.sidecars} == {n for n in everything(added.out) if n.startswith("sidecars/")}
    with pytest.raises(CorpusError, match="taken back"):
        mdfp.open(str(added.out), 2)


def test_the_last_of_a_sidecar_takes_it_along(added, console):
    cases = [s.key for s in mdfp.open(str(added.out)).samples if len(s.labels) > 0 and s.labels[-1].layer == "model"]
    take_back(added, console, *cases)
    after = mdfp.open(str(added.out))
    assert verify(after) == []
    assert (after.manifest.sidecars, after.manifest.added, after.manifest.schema_version) == ((), (), 2)
    assert after.manifest.terms[0].origins == ()
    assert not [n for n in everything(added.out) if n.startswith("sidecars/")]


def test_nothing_is_purged_where_nothing_was_taken_back(added, console):
    before = everything(added.out)
    withdrawing.withdraw(added.workspace(), None, purge=True, scratch=None, console=console)
    assert everything(added.out, *STATE) == {n: d for n, d in before.items() if n.startswith(STATE)}
    assert verify(mdfp.open(str(added.out), 1)) == []


class KilledError(Exception):
    """As if the process had died."""


WRITES = ("create_file", "create_bytes", "create_same", "replace", "remove_all")


def dying(patch, *, at):
    """Count what is written; die right before the given write, and before every later one."""
    calls = []
    for name in WRITES:
        original = getattr(commit, name)

        def wrapped(*words, _original=original, _name=name):
            calls.append((_name, words[-1]))
            if at is not None and len(calls) >= at:
                raise KilledError
            return _original(*words)

        patch.setattr(commit, name, wrapped)
    return calls


def test_killed_at_any_write_and_called_again_it_ends_in_one_state(base, console, tmp_path):
    expected = everything(base[1].out, *STATE)
    step = 1
    while True:
        step += 2  # each second write: a run of all takes twice as long
        folder = tmp_path / str(step)
        shutil.copytree(base[0].folder, folder)
        corpus = world.Corpus(folder)
        with pytest.MonkeyPatch.context() as patch:
            calls = dying(patch, at=step)
            died = False
            try:
                corpus.add(console)
            except Exception:
                died = True
        assert died == (len(calls) >= step)  # it dies of nothing else
        if not died:
            break
        # A reader who comes now sees the old corpus or the new one, whole.
        opened = mdfp.open(str(corpus.out))
        assert verify(opened, quick=True) == [], step
        corpus.add(console)
        assert everything(corpus.out, *STATE) == expected, step
        shutil.rmtree(folder)
    assert step > 8


def test_a_killed_withdrawal_of_a_corpus_with_sidecars_ends_in_one_state(base, console, tmp_path):
    shutil.copytree(base[1].folder, tmp_path / "reference")
    reference = world.Corpus(tmp_path / "reference")
    with pytest.MonkeyPatch.context() as patch:
        calls = dying(patch, at=None)
        take_back(reference, console, "scans-both", "scans-model")
    expected = everything(reference.out, *STATE)
    for step in range(2, len(calls) + 1, 3):
        folder = tmp_path / str(step)
        shutil.copytree(base[1].folder, folder)
        corpus = world.Corpus(folder)
        with pytest.MonkeyPatch.context() as patch:
            dying(patch, at=step)
            with pytest.raises(KilledError):
                take_back(corpus, console, "scans-both", "scans-model")
        assert verify(mdfp.open(str(corpus.out)), quick=True) == [], step
        take_back(corpus, console, "scans-both", "scans-model")
        assert everything(corpus.out, *STATE) == expected, step
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"terms": {"license": "CC-BY-NC-4.0"}}, "terms_refused.*CC-BY-NC-4.0"),
        ({"terms": {}}, "terms_unknown"),
        ({"title": "Somebody else"}, "Choose another layer"),
        ({"layer": "ct"}, None),
    ],
)
def test_wrong_uses_are_told_before_anything_is_read(added, changes, match):
    spec = added.spec(**changes)
    place = place_beside(str(added.folder / "masks"), spec.layer, added.folder, spec.access)
    before = everything(added.out)
    if match is None:
        assert look(added.workspace(), spec, place).samples == 7
    else:
        with pytest.raises(UsageError, match=match):
            look(added.workspace(), spec, place)
    assert everything(added.out) == before


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"colour": "red"}, "colour"),
        ({"path": "{name}.nii.gz"}, "the field {name} is not known"),
        ({"path": "all.nii.gz"}, "names the sample by {key} or by {case}"),
        ({"layer": "base"}, "what a build calls its own layers"),
        ({"path": "{key}/{structure}.nii.gz"}, "needs structures:"),
        ({"path": "{key}_{image}.nii.gz", "image": "ct"}, "leave one of them out"),
        ({"labels": {"origin": "robot", "values": {1: "liver"}}}, "origin"),
        ({"labels": {"origin": "model", "values": {1: "livr"}}}, "liver"),
    ],
)
def test_a_wrong_description_names_file_line_and_remedy(tmp_path, changes, match):
    import yaml

    content = {"layer": "m", "title": "M", "root": ".", "path": "{key}.nii.gz", "labels": world.MODEL_TABLE} | changes
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=match):
        added_labels.load(tmp_path / "m.yaml")


def test_the_papers_name_the_sidecars(added):
    mlc = pytest.importorskip("mlcroissant")
    sidecars = {s.path for s in mdfp.open(str(added.out)).manifest.sidecars}
    content = json.loads((added.out / "croissant.json").read_text())
    assert sidecars <= {d["@id"] for d in content["distribution"]}
    found = mlc.Dataset(jsonld=str(added.out / "croissant.json"))
    assert found.metadata.issues.errors == set()
    assert status(added.workspace().corpus).next_step == "nothing: all is published"


def test_the_command_shows_first_and_does_it_on_request(built, monkeypatch):
    built.spec()
    words = ["add-labels", str(built.folder / "recipe.yaml"), str(built.folder / "model.yaml"), "--out", str(built.out)]
    words += ["--root", f"scans={built.folder / 'bucket'}", "--json", "--quiet"]
    run = CliRunner().invoke(app, words)
    assert (run.exit_code, json.loads(run.stdout)["samples"], json.loads(run.stdout)["done"]) == (0, 7, False)
    assert mdfp.open(str(built.out)).manifest.number == 1
    run = CliRunner().invoke(app, [*words, "--yes", "--workers", "1"])
    told = json.loads(run.stdout)
    assert (run.exit_code, told["samples"], told["manifest"]) == (0, 7, 2)
    assert told["table"] == "rejects/000002-model.parquet"
    run = CliRunner().invoke(app, [*words, "--repair"])
    assert (run.exit_code, json.loads(run.stdout)["damaged"]) == (0, [])
    shown = CliRunner().invoke(reader_app, ["info", str(built.out)]).stdout
    assert "labels added: model (model): A model, CC-BY-4.0" in " ".join(shown.split())
    assert "sidecars" in CliRunner().invoke(reader_app, ["verify", str(built.out)]).stdout
    built.spec(terms={"license": "CC-BY-NC-4.0"})
    run = CliRunner().invoke(app, [*words, "--yes"])
    assert run.exit_code == 2
