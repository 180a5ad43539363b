"""Runs a suite over flat tables with Great Expectations, in the driver, without network and without files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from expectations import rules
from expectations.outcome import MAX_FAILING, Outcome, ValidationResult
from expectations.suite import Expectation, Suite, great_expectations, to_gx
from mdfp.errors import UsageError

JUDGED_ROWS = 200_000
"""Rows of a table that Great Expectations sees. Of a longer one our predicates judge every row, it the first of them."""

_WHOLE = ("expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique")
"""Rules about rows that need all rows at once."""


def run(suite: Suite, tables: Mapping[str, pa.Table]) -> ValidationResult:
    """Check every expectation of a suite; see `Judge`.

    Args:
        suite: from `expectations.suite.load_with`.
        tables: by name, each with a column `id` that says what a row is called.

    Raises:
        UsageError: a rule cannot be applied to its column (a range of a text column).
    """
    judge = Judge(suite)
    judge.add(tables)
    return judge.finish()


class Judge:
    """Checks every expectation of a suite over tables that come in batches.

    A table without rows breaks nothing, except a rule about its number of rows.

    Up to `JUDGED_ROWS` Great Expectations judges the table as a whole. Of a longer one it judges that many of the first
    rows, where its counts must be our predicates'; these judge the rest, a batch at a time. Rules that need all rows at
    once (a value that must be unique, a mean) keep their columns and are judged by Great Expectations at the end.

    Args:
        suite: from `expectations.suite.load_with`.
    """

    def __init__(self, suite: Suite):
        self._suite = suite
        self._tables: dict[str, _Judged] = {}

    def add(self, tables: Mapping[str, pa.Table]) -> None:
        """Take the next rows of some tables."""
        for name, table in tables.items():
            expectations = [e for e in self._suite.expectations if e.table == name]
            if expectations:
                self._tables.setdefault(name, _Judged(name, expectations)).add(table)

    def finish(self) -> ValidationResult:
        """What came of it.

        Raises:
            UsageError: a rule cannot be applied to its column.
        """
        # A context remembers every run, and data sources by name; a fresh one holds nothing but this one.
        context = _context()
        outcomes: dict[str, Outcome] = {}
        for judged in self._tables.values():
            outcomes.update(judged.finish(context, self._suite.suite))
        return ValidationResult(self._suite.suite, tuple(outcomes[e.id] for e in self._suite.expectations))


class _Judged:
    """One table, while its rows come."""

    def __init__(self, name: str, expectations: list[Expectation]):
        self._name = name
        self._all = expectations
        self._apart = [e for e in expectations if _needs_all_rows(e)]
        self._by_row = [e for e in expectations if not _needs_all_rows(e)]
        self._first: list[pa.Table] = []
        self._columns: list[pa.Table] = []
        self._tallies = {e.id: _Tally() for e in self._by_row}
        self._rows = 0
        self._long = False

    def add(self, table: pa.Table) -> None:
        """Take the next rows: keep them, or, past the first ones, judge and forget them."""
        room = JUDGED_ROWS - self._rows
        self._rows += table.num_rows
        if room > 0:
            self._first.append(table.select(_needed(self._all)).slice(0, room))
        rest = table.slice(max(0, room))
        if rest.num_rows:
            early = self._first if not self._long else []
            self._long = True
            for e in self._by_row:
                for part in (*early, rest):
                    self._tallies[e.id].add(e, part)
            if self._apart:
                self._columns.append(rest.select(_needed(self._apart)))

    def finish(self, context: Any, suite: str) -> dict[str, Outcome]:
        """The outcome of each expectation, by id."""
        first = pa.concat_tables(self._first)
        if not self._long:
            return _run_table(context, suite, self._name, self._all, first.to_pandas())
        outcomes = {}
        for o in _run_table(
            context, suite, self._name, self._by_row, first.select(_needed(self._by_row)).to_pandas()
        ).values():
            e = next(e for e in self._by_row if e.id == o.expectation)
            outcomes[o.expectation] = self._tallies[e.id].joined(e, o)
        if self._apart:
            everything = pa.concat_tables([first.select(_needed(self._apart)), *self._columns]).to_pandas()
            outcomes |= _run_table(context, suite, f"{self._name}-all", self._apart, everything)
        return outcomes


def _needs_all_rows(e: Expectation) -> bool:
    name, rule, _ = rules.resolve(e.rule, e.arguments)
    return rule.failing is None or name in _WHOLE


def _needed(expectations: list[Expectation]) -> list[str]:
    return list(dict.fromkeys(["id", *(c for e in expectations for c in (*e.about, *e.where))]))


class _Tally:
    """How the rows of a long table fare under one rule about rows."""

    def __init__(self) -> None:
        self._rows = self._failed = 0
        self._ids: list[str] = []
        self._values: list[Any] = []

    def add(self, e: Expectation, table: pa.Table) -> None:
        """Judge some rows."""
        _, rule, arguments = rules.resolve(e.rule, e.arguments)
        columns = list(dict.fromkeys([*e.about, *e.where]))
        rows = _where(table.select(columns).to_pandas(), e)
        if rule.skips_missing and any(table[c].null_count for c in e.about):
            rows = rows.dropna(subset=list(e.about))
        self._rows += len(rows)
        if rule.failing is None or not len(rows):
            return
        failing = rule.failing(rows, e.about, arguments).to_numpy(dtype=bool)
        if not failing.any():
            return
        self._failed += int(failing.sum())
        at = rows.index.to_numpy()[failing]
        if len(self._ids) < MAX_FAILING:
            self._ids += [str(i) for i in table["id"].take(pa.array(at[: MAX_FAILING - len(self._ids)])).to_pylist()]
        self._values.append(_extremes(rows.loc[at, e.about[0]]))

    def joined(self, e: Expectation, first: Outcome) -> Outcome:
        """The outcome over all rows; what does not depend on rows is as in that over the first ones."""
        mostly = float(rules.resolve(e.rule, e.arguments)[2].get("mostly", 1.0))
        holds = "no rows" if not self._rows else f"{self._rows} of {self._rows} hold"
        observed = f"{self._failed} of {self._rows} {'does' if self._failed == 1 else 'do'} not hold"
        return dataclasses.replace(
            first,
            success=not self._failed or (self._rows - self._failed) / self._rows >= mostly,
            rows=self._rows,
            failed=self._failed,
            observed=observed + _values_of(e, pd.concat(self._values)) if self._values else holds,
            failing=tuple(self._ids),
        )


def _extremes(values: pd.Series[Any]) -> pd.Series[Any]:
    """Of many values those that a sentence may name."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return pd.Series([values.min(), values.max()])
    return pd.Series(values.unique()[:4])


def _context() -> Any:
    gx = great_expectations()
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _run_table(
    context: Any, suite: str, table: str, expectations: list[Expectation], frame: pd.DataFrame
) -> dict[str, Outcome]:
    # An empty pandas column has no type worth judging, and nothing in it can fail.
    judged = [e for e in expectations if len(frame) or rules.resolve(e.rule, e.arguments)[1].columns == "none"]
    results = _validate(context, table, judged, frame) if judged else {}
    outcomes = {}
    for e in expectations:
        _, rule, arguments = rules.resolve(e.rule, e.arguments)
        rows = _where(frame, e)
        if rule.skips_missing:
            rows = rows.dropna(subset=list(e.about))
        result = results.get(e.id)
        failing: pd.Series[bool] | None = None
        if result is not None and rule.failing is not None and len(rows):
            failing = rule.failing(rows, e.about, arguments).astype(bool)
        outcomes[e.id] = _outcome(suite, e, rows, failing, result)
    return outcomes


def _validate(context: Any, name: str, expectations: list[Expectation], frame: pd.DataFrame) -> dict[str, Any]:
    """Great Expectations' result for each expectation, by id."""
    gx = great_expectations()
    asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all")
    suite = context.suites.add(to_gx(expectations, name))
    definition = gx.ValidationDefinition(name=name, data=batch, suite=suite)
    context.validation_definitions.add(definition)
    run_result = definition.run(batch_parameters={"dataframe": frame}, result_format="SUMMARY")
    results = {r.expectation_config.meta["id"]: r for r in run_result.results}
    for e in expectations:
        if fault := _exception(results[e.id].exception_info):
            raise UsageError(
                f"expectation {e.id}: {e.rule} cannot be applied to {' and '.join(e.about) or 'the table'} "
                f"of table {e.table!r}: {fault}"
            )
    return results


def _exception(info: Mapping[str, Any] | None) -> str | None:
    """The message of the exception that Great Expectations caught, if any."""
    if not info:
        return None
    if "raised_exception" in info:
        return str(info["exception_message"]) if info["raised_exception"] else None
    return next((str(i["exception_message"]) for i in info.values() if i["raised_exception"]), None)


def _where(frame: pd.DataFrame, expectation: Expectation) -> pd.DataFrame:
    for column, value in expectation.where.items():
        frame = frame[frame[column].isin(list(value) if isinstance(value, tuple) else [value])]
    return frame


def _outcome(
    suite: str, e: Expectation, rows: pd.DataFrame, failing: pd.Series[bool] | None, result: Any | None
) -> Outcome:
    failed = 0 if failing is None else int(failing.sum())
    ids = () if failing is None else tuple(str(i) for i in rows.loc[failing, "id"].iloc[:MAX_FAILING])
    if failing is not None and result is not None and failed != result.result["unexpected_count"]:
        raise RuntimeError(
            f"expectation {e.id}: Great Expectations counts {result.result['unexpected_count']} failing rows, "
            f"our predicate {failed}; they must be the same rule"
        )
    return Outcome(
        suite=suite,
        expectation=e.id,
        table=e.table,
        rule=e.rule,
        columns=e.about,
        severity=e.severity,
        meaning=e.meaning,
        success=result is None or bool(result.success),
        rows=len(rows),
        failed=failed,
        observed=_observed(e, rows, failing, result),
        failing=ids,
    )


def _observed(e: Expectation, rows: pd.DataFrame, failing: pd.Series[bool] | None, result: Any | None) -> str:
    if not len(rows) and (result is None or "observed_value" not in result.result):
        return "no rows"
    if failing is None:
        value = result.result.get("observed_value") if result is not None else None
        return f"observed {_short(value)}"
    if not failing.any():
        return f"{len(rows)} of {len(rows)} hold"
    count = int(failing.sum())
    text = f"{count} of {len(rows)} {'does' if count == 1 else 'do'} not hold"
    return text + _values_of(e, rows.loc[failing, e.about[0]])


def _values_of(e: Expectation, values: pd.Series[Any]) -> str:
    """What stood in the failing rows, where that says something."""
    if len(e.about) > 1 or values.isna().any() or pd.api.types.is_bool_dtype(values):
        return ""
    if pd.api.types.is_numeric_dtype(values):
        low, high = values.min(), values.max()
        return f": {e.about[0]} {_short(low)}" + (f" to {_short(high)}" if low != high else "")
    return f": {e.about[0]} {', '.join(sorted({str(v) for v in values})[:3])}"


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple, set)):
        return ", ".join(_short(v) for v in list(value)[:5])
    return f"{value:.6g}" if isinstance(value, float) else str(value)
