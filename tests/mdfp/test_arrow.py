"""Every record survives arrow and JSON, and every one of its fields says what it means."""

from __future__ import annotations

import dataclasses
import io
import json
import typing

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdfp import arrow, canonical, manifest
from mdfp import sample as samples
from schemas import case, plan
from schemas.reasons import Reason


def records(module):
    return [
        r
        for r in vars(module).values()
        if isinstance(r, type)
        and dataclasses.is_dataclass(r)
        and r.__module__ == module.__name__
        and r.__dataclass_params__.frozen
    ]


RECORDS = sorted(
    {r for m in (samples, manifest, case, plan) for r in records(m)}, key=lambda r: f"{r.__module__}.{r.__name__}"
)

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**63), 2**63 - 1)


def of(hint):
    """A strategy of values of a field's type."""
    bare, _, nullable = arrow._unwrap(hint)
    if typing.get_origin(bare) is tuple:
        made = st.lists(of(typing.get_args(bare)[0]), max_size=2).map(tuple)
    elif dataclasses.is_dataclass(bare):
        made = instances(bare)
    elif isinstance(bare, type) and issubclass(bare, str) and bare is not str:
        made = st.sampled_from(list(bare))
    else:
        made = {str: st.text(max_size=5), int: INTEGERS, float: FLOATS, bool: st.booleans()}[bare]
    return st.none() | made if nullable else made


def instances(record):
    hints = arrow._hints(record)
    return st.builds(record, **{f.name: of(hints[f.name]) for f in dataclasses.fields(record)})


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_every_field_says_what_it_means(record):
    assert arrow.undocumented(record) == []
    for field in arrow.arrow_schema(record):
        assert field.metadata[b"doc"]
    assert arrow.arrow_schema(record).metadata[b"record"] == record.__name__.encode()


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_every_record_survives_parquet(record):
    @settings(max_examples=15, deadline=None)
    @given(st.lists(instances(record), max_size=3))
    def law(rows):
        file = io.BytesIO()
        pq.write_table(arrow.to_table(record, rows), file)
        again = pq.read_table(io.BytesIO(file.getvalue()))
        schemas = [arrow.arrow_schema(record, used) for used in (False, True)]
        assert any(again.schema.equals(schema, check_metadata=False) for schema in schemas)
        assert arrow.from_table(record, again) == rows

    law()


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_every_record_survives_canonical_json(record):
    @settings(max_examples=15, deadline=None)
    @given(instances(record))
    def law(row):
        content = canonical.dumps(row)
        again = arrow.from_dict(record, json.loads(content))
        assert again == row
        assert canonical.dumps(again) == content

    law()


def test_a_column_on_demand_is_there_where_a_row_uses_it_and_nowhere_else():
    own, elsewhere = samples.Member("a.txt", "text", "a", 0, 1), samples.Member("a.b2nd", "label", "m", 512, 9, "x.tar")
    plain, used = (arrow.to_table(samples.Member, rows) for rows in ([own, own], [own, elsewhere]))
    assert ("shard" in plain.column_names, "shard" in used.column_names) == (False, True)
    assert arrow.from_table(samples.Member, used) == [own, elsewhere]
    assert canonical.dumps(own) == canonical.dumps(dataclasses.asdict(own) | {"shard": None}).replace(
        b',"shard":null', b""
    )


def test_an_enumeration_comes_back_as_itself():
    row = case.Reject("inventory", "s", None, Reason.BAD_SPACING, "0 mm", None)
    (again,) = arrow.from_table(case.Reject, arrow.to_table(case.Reject, [row]))
    assert again.reason is Reason.BAD_SPACING


@dataclasses.dataclass(frozen=True)
class Old:
    """A record as an earlier version wrote it."""

    a: typing.Annotated[int, "a number"]
    gone: typing.Annotated[str, "no longer known"]


@dataclasses.dataclass(frozen=True)
class New:
    """The same record, later."""

    a: typing.Annotated[int, "a number"]
    added: typing.Annotated[str | None, "new, with a default"] = None


def test_columns_that_are_not_known_are_ignored_and_absent_ones_take_defaults():
    assert arrow.from_table(New, arrow.to_table(Old, [Old(1, "x")])) == [New(1)]


def test_a_field_without_default_that_is_absent_is_an_error():
    with pytest.raises(TypeError, match="gone"):
        arrow.from_table(Old, arrow.to_table(New, [New(1)]))


@dataclasses.dataclass(frozen=True)
class Wrong:
    """A record with fields that no column can hold."""

    a: typing.Annotated[int | str, "two types"]


@dataclasses.dataclass(frozen=True)
class Fixed:
    """A record with a tuple of fixed length."""

    a: typing.Annotated[tuple[int, int], "two numbers"]


@dataclasses.dataclass(frozen=True)
class Silent:
    """A record with a field that says nothing."""

    a: int
    rows: typing.Annotated[tuple[Old, ...], "said"]


def test_types_that_no_column_can_hold_are_refused():
    with pytest.raises(TypeError, match="a column is one type or that type and None"):
        arrow.arrow_schema(Wrong)
    with pytest.raises(TypeError, match=r"a list column is tuple\[X, \.\.\.\]"):
        arrow.arrow_schema(Fixed)


def test_a_field_that_says_nothing_is_found():
    assert list(arrow.undocumented(Silent)) == ["Silent.a"]


def test_a_column_is_nullable_only_where_the_field_may_be_none():
    schema = arrow.arrow_schema(New)
    assert (schema.field("a").nullable, schema.field("added").nullable) == (False, True)
    assert schema.field("a").type == pa.int64()


def test_a_column_that_some_files_lack_takes_the_default_where_it_is_null():
    @dataclasses.dataclass(frozen=True)
    class Late:
        """A record that grew."""

        name: str
        more: tuple[str, ...] = ()
        note: str | None = "none"

    assert arrow.from_dict(Late, {"name": "a", "more": None, "note": None}) == Late("a", (), None)


def test_a_sparse_field_is_in_the_json_only_where_it_holds_something():
    @dataclasses.dataclass(frozen=True)
    class Grown:
        """A record that grew and keeps its bytes."""

        name: str
        more: tuple[str, ...] = dataclasses.field(default=(), metadata={canonical.SPARSE: True})
        other: tuple[str, ...] = ()

    assert canonical.dumps(Grown("a")) == b'{"name":"a","other":[]}'
    assert canonical.dumps(Grown("a", ("b",))) == b'{"more":["b"],"name":"a","other":[]}'
