"""A command line's list of commands, with whole sentences and under headings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from typer.core import TyperGroup

LONGEST = 200
"""Characters of a first sentence; what is longer should be two sentences."""


class Menu(TyperGroup):
    """Lists each command with the whole first sentence of its help, where click would cut it after 45 characters."""

    sections: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Commands by heading, in the order in which they are listed; those that are not named come last."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list, a heading and its commands at a time.

        Args:
            ctx: context of the command, of click or of the click that typer brings along, by its version.
            formatter: where the help is written, of the same package.
        """
        left = [name for name in self.list_commands(ctx) if not self.commands[name].hidden]
        for heading, names in self.sections.items():
            self._write(formatter, heading, [name for name in names if name in left])
            left = [name for name in left if name not in names]
        self._write(formatter, "Commands", left)

    def _write(self, formatter: Any, heading: str, names: list[str]) -> None:
        if names:
            with formatter.section(heading):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(LONGEST)) for name in names])
