"""Suites are files, `suites/<name>.yaml` and any that a user adds: read, checked, and made Great Expectations'."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from expectations import rules
from expectations.tables import SUITES, TABLES, columns_of
from mdfp.errors import UsageError
from schemas import yaml_file
from schemas.suggest import nearest

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

HERE = Path(__file__).parent / "suites"
Scalar = str | int | float | bool


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Expectation(_Model):
    """One thing that must hold of the rows of a table."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$", description="its name; a later file may replace it")
    table: str = Field(description="the table it is about")
    rule: str = Field(description="a name of Great Expectations (expect_column_values_to_be_between), or one of ours")
    column: str | None = Field(None, description="the column it is about")
    columns: tuple[str, ...] = Field((), description="the columns, for a rule about several")
    arguments: dict[str, Any] = Field(
        {}, alias="with", description="the rule's arguments; mostly: fraction that must hold"
    )
    where: dict[str, Scalar | tuple[Scalar, ...]] = Field({}, description="only rows with this value, or one of these")
    severity: Literal["gate", "warn"] = Field(description="gate: stop; warn: report")
    meaning: str = Field(description="what must hold, in a sentence for a person")

    @field_validator("table")
    @classmethod
    def _table(cls, value: str) -> str:
        if value not in TABLES:
            raise ValueError(f"unknown table {value!r}{nearest(value, list(TABLES))} (tables: {', '.join(TABLES)})")
        return value

    @field_validator("rule")
    @classmethod
    def _rule(cls, value: str) -> str:
        if value not in rules.names():
            raise ValueError(f"unknown expectation {value!r}{nearest(value, rules.names())}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Expectation:
        known = columns_of(self.table)
        for column in (*self.about, *self.where):
            if column not in known:
                valid = f"(columns: {', '.join(known)})"
                raise ValueError(
                    f"{self.id}: table {self.table!r} has no column {column!r}{nearest(column, known)} {valid}"
                )
        _, rule, _ = rules.resolve(self.rule, self.arguments)
        wanted = {"one": "column:", "two": "columns: [a, b]", "several": "columns: [a, b, …]", "none": "no column"}
        fits = {
            "one": len(self.about) == 1,
            "two": len(self.about) == 2,
            "several": len(self.about) > 1,
            "none": not self.about,
        }
        if not fits[rule.columns]:
            raise ValueError(f"{self.id}: {self.rule} takes {wanted[rule.columns]}, found {list(self.about)}")
        accepted = (*rule.arguments, *(["mostly"] if rule.failing else []))
        for name in self.arguments:
            if name not in accepted:
                raise ValueError(
                    f"{self.id}: {self.rule} has no argument {name!r}{nearest(name, accepted)} "
                    f"(valid: {', '.join(accepted)})"
                )
        return self

    @property
    def about(self) -> tuple[str, ...]:
        """Its columns."""
        return (*([self.column] if self.column else []), *self.columns)


class Suite(_Model):
    """A suite as its file says it."""

    suite: Literal["inventory", "plan", "samples"] = Field(description="what it judges")
    expectations: tuple[Expectation, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Suite:
        ids = [e.id for e in self.expectations]
        if twice := sorted({i for i in ids if ids.count(i) > 1}):
            raise ValueError(f"expectations named twice: {', '.join(twice)}")
        for e in self.expectations:
            if e.table not in SUITES[self.suite]:
                valid = f" (tables: {', '.join(SUITES[self.suite])})"
                raise ValueError(f"{e.id}: {self.suite} has no table {e.table!r}{valid}")
        return self


def load(path: str | Path) -> Suite:
    """A suite from its file.

    Raises:
        UsageError: missing or wrong; the message names file, line and the nearest valid name.
    """
    return yaml_file.load(Suite, path)


def load_with(name: str, extra: Sequence[str | Path] = ()) -> Suite:
    """The project's suite of that name, and what files of one's own say about the same.

    Of expectations with the same id the last one counts, so a file can also soften or tighten what is there.

    Args:
        name: inventory, plan or samples.
        extra: suite files; those that judge something else are read, checked and set aside.

    Raises:
        UsageError: one of the files is wrong.
    """
    suites = [load(HERE / f"{name}.yaml"), *(s for s in map(load, extra) if s.suite == name)]
    merged = {e.id: e for s in suites for e in s.expectations}
    return Suite(suite=suites[0].suite, expectations=tuple(merged.values()))


def great_expectations() -> Any:
    """The library, with its usage statistics off.

    Imported on first use (it takes seconds), and only where suites run: in the driver.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    import great_expectations as gx

    return gx


def to_gx(expectations: Iterable[Expectation], name: str) -> ExpectationSuite:
    """Expectations as a Great Expectations suite; each carries its id in `meta`.

    Raises:
        UsageError: an argument has a value that the rule does not take.
    """
    gx = great_expectations()
    from great_expectations.compatibility.pydantic import ValidationError
    from great_expectations.expectations.registry import get_expectation_impl

    made = []
    for e in expectations:
        gx_name, rule, arguments = rules.resolve(e.rule, e.arguments)
        keys: dict[str, Any] = {**rule.fixed, **arguments, **_columns(rule, e.about)}
        if e.where:
            keys["row_condition"] = _condition(e)
        keys["severity"] = {"gate": "critical", "warn": "warning"}[e.severity]
        try:
            made.append(get_expectation_impl(gx_name)(**keys, meta={"id": e.id, "meaning": e.meaning}))
        except (ValidationError, TypeError) as error:
            raise UsageError(f"expectation {e.id}: {e.rule} does not take {dict(e.arguments)}: {error}") from error
    return gx.ExpectationSuite(name=name, expectations=made)


def _columns(rule: rules.Rule, about: tuple[str, ...]) -> dict[str, Any]:
    if rule.columns == "one":
        return {"column": about[0]}
    if rule.columns == "two":
        return {"column_A": about[0], "column_B": about[1]}
    return {"column_list": list(about)} if rule.columns == "several" else {}


def _condition(expectation: Expectation) -> Any:
    from great_expectations.expectations.row_conditions import Column

    condition: Any = None
    for column, value in expectation.where.items():
        part = Column(column).is_in(list(value)) if isinstance(value, tuple) else Column(column) == value
        condition = part if condition is None else condition & part
    return condition
