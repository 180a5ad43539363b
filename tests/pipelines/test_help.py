"""The lists of commands: every command stands under a heading, with its whole first sentence."""

from __future__ import annotations

import pytest
from typer.main import get_group
from typer.testing import CliRunner

from mdfp import cli as reader
from mdfp.menu import LONGEST
from pipelines import catalog, cli

COMMANDS = sorted(get_group(cli.app).commands)


@pytest.fixture
def listed():
    def words(app):
        return " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).output.split())

    return words


def test_every_command_stands_under_a_heading():
    assert sorted(name for names in cli.Commands.sections.values() for name in names) == COMMANDS


def test_the_reader_knows_all_commands_of_the_builder():
    assert sorted(reader.BUILDER) == COMMANDS


@pytest.mark.parametrize("app", [cli.app, catalog.app, reader.app], ids=["builder", "catalog", "reader"])
def test_first_sentences_are_listed_whole(app, listed):
    shown = listed(app)
    for name, command in get_group(app).commands.items():
        first = " ".join((command.help or "").split("\n\n")[0].split()).split(". ")[0].rstrip(".")
        assert 0 < len(first) <= LONGEST
        assert f"{name} {first}." in shown
