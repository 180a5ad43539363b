from __future__ import annotations

from transforms import environment


def test_what_bytes_pass_through_is_locked():
    found = environment.locked()
    assert {"python", "machine", "system", "numpy", "numba", "blosc2", "imagecodecs"} <= set(found)
    assert "absent" not in found.values()
    assert found == environment.locked()


def test_a_package_that_is_not_there_is_said_to_be_absent(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "no-such-package"))
    assert environment.locked()["no-such-package"] == "absent"


def test_the_fingerprint_depends_on_every_version():
    a = environment.fingerprint({"x": "1", "y": "2"})
    assert len(a) == 16
    assert a == environment.fingerprint({"y": "2", "x": "1"})
    assert a != environment.fingerprint({"x": "1", "y": "3"})
    assert environment.fingerprint() == environment.fingerprint(environment.locked())


def test_a_difference_names_both_sides():
    assert environment.difference({"x": "1"}, {"x": "1"}) == ""
    found = environment.difference({"x": "1", "y": "2", "z": "3"}, {"x": "1", "y": "9", "w": "4"})
    assert found == "w 4 (planned absent), y 9 (planned 2), z absent (planned 3)"
