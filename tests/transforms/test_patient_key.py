"""The key behind pseudonyms: found by whoever needs it, and carried by nothing."""

from __future__ import annotations

import pickle
import stat
from types import SimpleNamespace

import pytest

from mdfp.errors import UsageError
from transforms import patient_key
from transforms.patient_key import FILE_VARIABLE, VARIABLE, KeyReference
from transforms.pseudonym import PatientKeys

KEY = "a key of sixteen bytes and more"
OTHER = "another key of sixteen bytes and more"
SECRET = "projects/p/secrets/mdfp/versions/3"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """Nothing said, and a home of its own."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "patient.key"
    path.write_text(KEY + "\n")
    return path


@pytest.fixture
def fingerprint():
    return PatientKeys(KEY.encode()).fingerprint


def test_it_is_made_once_and_for_its_owner_alone(tmp_path):
    made = patient_key.load()
    path = tmp_path / "config" / "mdfp" / "patient.key"
    assert len(made.secret) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert patient_key.load() == made
    assert patient_key.reference(made) == KeyReference(made.fingerprint, str(path))


def test_the_variable_wins_over_the_file_and_the_file_over_ones_own(file, monkeypatch):
    monkeypatch.setenv(FILE_VARIABLE, str(file))
    assert patient_key.load().secret == KEY.encode()
    monkeypatch.setenv(VARIABLE, OTHER)
    assert patient_key.load().secret == OTHER.encode()


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_workers_read_the_file_again(file, monkeypatch, form):
    monkeypatch.setenv(FILE_VARIABLE, form.format(file))
    keys = patient_key.load()
    carried = pickle.loads(pickle.dumps(patient_key.reference(keys)))
    monkeypatch.delenv(FILE_VARIABLE)
    assert carried.of_this_machine
    assert carried.resolve() == keys


def test_a_file_is_named_in_full_because_workers_stand_elsewhere(file, monkeypatch, fingerprint):
    monkeypatch.chdir(file.parent)
    monkeypatch.setenv(FILE_VARIABLE, file.name)
    assert patient_key.reference(patient_key.load()) == KeyReference(fingerprint, str(file))


def test_what_travels_has_no_key_in_it(monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY)
    reference = patient_key.reference(patient_key.load())
    assert KEY.encode() not in pickle.dumps(reference)
    assert reference.place == ""


def test_a_worker_may_have_its_own_variable(file, fingerprint, monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY)
    assert KeyReference(fingerprint, "/nowhere").resolve().secret == KEY.encode()
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv(FILE_VARIABLE, str(file))
    assert KeyReference(fingerprint, "/nowhere").resolve().secret == KEY.encode()


def test_a_worker_without_a_key_says_what_to_set(fingerprint):
    with pytest.raises(
        UsageError, match=rf"no patient key: set {VARIABLE} where workers are started, or {FILE_VARIABLE}"
    ):
        KeyReference(fingerprint, "").resolve()


def test_a_worker_with_another_key_is_refused_and_neither_key_is_shown(fingerprint, monkeypatch):
    monkeypatch.setenv(VARIABLE, OTHER)
    with pytest.raises(UsageError, match=rf"finds in the variable {VARIABLE}.*{fingerprint}.*same key") as error:
        KeyReference(fingerprint, "").resolve()
    assert OTHER not in str(error.value)


def test_a_file_that_is_not_there_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "missing.key"))
    with pytest.raises(
        UsageError, match=rf"missing.key: the patient key cannot be read \(No such file.*{FILE_VARIABLE}"
    ):
        patient_key.load()
    assert not (tmp_path / "missing.key").exists()


def test_it_may_lie_in_a_store(monkeypatch, fingerprint):
    import fsspec

    with fsspec.open("memory://private/patient.key", "wb") as stream:
        stream.write(KEY.encode() + b"\n")
    monkeypatch.setenv(FILE_VARIABLE, "memory://private/patient.key")
    reference = patient_key.reference(patient_key.load())
    assert not reference.of_this_machine
    assert reference.resolve().fingerprint == fingerprint
    monkeypatch.setenv(FILE_VARIABLE, "memory://private/other.key")
    with pytest.raises(UsageError, match=r"memory://private/other.key: the patient key cannot be read"):
        patient_key.load()


def test_it_may_be_a_secret_of_googles(monkeypatch, fingerprint):
    """Against the library's own client, with its one call answered here: the service is not reachable from tests."""
    manager = pytest.importorskip("google.cloud.secretmanager", reason="the gcp extra is not installed")
    asked = []

    def answer(self, *, name):
        asked.append(name)
        return SimpleNamespace(payload=SimpleNamespace(data=KEY.encode()))

    monkeypatch.setattr(manager.SecretManagerServiceClient, "__init__", lambda self: None)
    monkeypatch.setattr(manager.SecretManagerServiceClient, "access_secret_version", answer)
    monkeypatch.setenv(FILE_VARIABLE, SECRET)
    reference = patient_key.reference(patient_key.load())
    assert reference == KeyReference(fingerprint, SECRET)
    assert not reference.of_this_machine
    assert reference.resolve().fingerprint == fingerprint
    assert asked == [SECRET, SECRET]


def test_a_secret_that_is_refused_says_so(monkeypatch):
    manager = pytest.importorskip("google.cloud.secretmanager", reason="the gcp extra is not installed")
    from google.api_core.exceptions import PermissionDenied

    def refuse(self, *, name):
        raise PermissionDenied("the account may not read it")

    monkeypatch.setattr(manager.SecretManagerServiceClient, "__init__", lambda self: None)
    monkeypatch.setattr(manager.SecretManagerServiceClient, "access_secret_version", refuse)
    monkeypatch.setenv(FILE_VARIABLE, SECRET)
    with pytest.raises(UsageError, match=rf"{SECRET}: the patient key cannot be read .*may not read it"):
        patient_key.load()
