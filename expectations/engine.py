"""Runs a suite over flat tables with Great Expectations, in the driver, without network and without files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from expectations import rules
from expectations.outcome import MAX_FAILING, Outcome, ValidationResult
from expectations.suite import Expectation, Suite, great_expectations, to_gx
from mdfp.errors import UsageError


def run(suite: Suite, tables: Mapping[str, pa.Table]) -> ValidationResult:
    """Check every expectation of a suite.

    A table without rows breaks nothing, except a rule about its number of rows.

    Args:
        suite: from `expectations.suite.load_with`.
        tables: by name, each with a column `id` that says what a row is called.

    Raises:
        UsageError: a rule cannot be applied to its column (a range of a text column).
    """
    # A context remembers every run, and data sources by name; a fresh one holds nothing but this one.
    context = _context()
    outcomes: dict[str, Outcome] = {}
    for name, table in tables.items():
        expectations = [e for e in suite.expectations if e.table == name]
        if expectations:
            needed = dict.fromkeys(["id", *(c for e in expectations for c in (*e.about, *e.where))])
            frame = table.select(list(needed)).to_pandas()
            outcomes.update(_run_table(context, suite.suite, name, expectations, frame))
    return ValidationResult(suite.suite, tuple(outcomes[e.id] for e in suite.expectations))


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
    values = rows.loc[failing, e.about[0]]
    if len(e.about) > 1 or values.isna().any() or pd.api.types.is_bool_dtype(values):
        return text
    if pd.api.types.is_numeric_dtype(values):
        low, high = values.min(), values.max()
        return f"{text}: {e.about[0]} {_short(low)}" + (f" to {_short(high)}" if low != high else "")
    return f"{text}: {e.about[0]} {', '.join(sorted({str(v) for v in values})[:3])}"


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple, set)):
        return ", ".join(_short(v) for v in list(value)[:5])
    return f"{value:.6g}" if isinstance(value, float) else str(value)
