from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from infra.servers import install
from infra.servers.install import GoProgram, InstallError, Unavailable

PROGRAM = GoProgram("tool", "example.org/tool", "v1.2.3", "h1:expected=", "./cmd/tool", (1, 25))

GO = """#!/bin/sh
case "$1" in
  env) echo {version} ;;
  mod) echo '{{"Sum": "{sum}", "Dir": "{folder}"}}' ;;
  build) while [ $# -gt 1 ]; do [ "$1" = -o ] && printf built > "$2"; shift; done; echo built >> {log} ;;
esac
"""


@pytest.fixture
def fake_go(tmp_path, monkeypatch):
    """A `go` that says what it is told to, and counts its compilations."""
    folder = tmp_path / "module"
    (folder / "cmd").mkdir(parents=True)

    def make(version: str = "go1.26.8", module_sum: str = PROGRAM.sum) -> Path:
        log = tmp_path / "log"
        log.touch()
        tool = tmp_path / "bin" / "go"
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(GO.format(version=version, sum=module_sum, folder=folder, log=log))
        tool.chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", os.pathsep.join([str(tool.parent), "/usr/bin", "/bin"]))
        return log

    return make


def test_the_cache_lies_where_the_environment_says():
    assert install.cache_folder({"MDFP_CACHE": "/here", "XDG_CACHE_HOME": "/there"}) == Path("/here")
    assert install.cache_folder({"XDG_CACHE_HOME": "/there"}) == Path("/there/mdfp")
    assert install.cache_folder({}) == Path.home() / ".cache" / "mdfp"


def test_a_program_is_compiled_once(fake_go, tmp_path):
    log = fake_go()
    first = install.go_program(PROGRAM, tmp_path / "cache")
    assert install.go_program(PROGRAM, tmp_path / "cache") == first
    assert Path(first.words[0]).read_text() == "built"
    assert log.read_text().count("built") == 1


def test_a_program_that_was_changed_is_compiled_anew(fake_go, tmp_path):
    log = fake_go()
    program = Path(install.go_program(PROGRAM, tmp_path / "cache").words[0])
    program.write_text("changed")
    install.go_program(PROGRAM, tmp_path / "cache")
    assert program.read_text() == "built"
    assert log.read_text().count("built") == 2


def test_a_module_with_another_hash_is_not_compiled(fake_go, tmp_path):
    log = fake_go(module_sum="h1:other=")
    with pytest.raises(InstallError, match=r"expected the module hash h1:expected=, found h1:other="):
        install.go_program(PROGRAM, tmp_path / "cache")
    assert not log.read_text()


def test_a_go_that_is_too_old_is_a_want_of_the_machine(fake_go, tmp_path):
    fake_go(version="go1.19.8")
    with pytest.raises(Unavailable, match=r"Go 1\.25 or later is needed, found 1\.19"):
        install.go_program(PROGRAM, tmp_path / "cache")


def test_a_missing_python_package_is_a_want_of_the_machine():
    with pytest.raises(Unavailable, match="no-such-distribution is not installed"):
        install.python_module("no-such-distribution", "nothing")


def test_a_missing_program_says_which_package_has_it():
    with pytest.raises(Unavailable, match=r"no-such-program is not installed \(Debian package nothing\)"):
        install.system_program("no-such-program", "nothing")


@pytest.mark.parametrize(("said", "version"), [("go1.26.8\n", (1, 26)), ("go1.27rc1", (1, 27)), ("go2.0", (2, 0))])
def test_versions_of_go_are_read(said, version):
    assert install.go_version(said) == version


def test_every_package_of_the_lock_file_has_a_hash_and_names_no_host():
    lock = json.loads((Path(install.__file__).parent / "azurite" / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    assert not [name for name, entry in packages.items() if not entry.get("integrity", "").startswith("sha512-")]
    assert not [name for name, entry in packages.items() if "resolved" in entry]
