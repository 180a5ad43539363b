"""What the target of a withdrawal means: a case, a patient or a source of this corpus."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from mdfp.errors import UsageError
from pipelines.inventory import read_inventory
from pipelines.workspace import Workspace
from schemas.suggest import nearest
from transforms.plan.published import load as load_published
from transforms.withdrawn import Withdrawal

COLUMNS = ("case_id", "patient", "source")


def resolve(workspace: Workspace, target: str, kind: str | None) -> Withdrawal:
    """The withdrawal that a target means.

    A patient's cases are named beside the pseudonym, so that a plan, which knows cases alone, is recognised as stale.

    Args:
        workspace: the corpus and the patient key.
        target: what the user wrote.
        kind: case, patient, patient-id (NAMESPACE:ID) or source; None: whatever the corpus or its newest inventory knows.

    Raises:
        UsageError: nothing of that name is known, and `kind` does not say what it is.
    """
    known = _known(workspace)
    cases, patients, sources = (set(known[c].to_pylist()) for c in COLUMNS)
    sources |= set(workspace.sources)
    if kind == "patient-id":
        namespace, colon, patient_id = target.partition(":")
        if not colon or not namespace or not patient_id:
            raise UsageError(
                f"--as patient-id: expected NAMESPACE:ID as the source's manifest has it, found {target!r}"
            )
        return _patient(workspace.keys.patient(namespace, patient_id), known)
    if kind == "case" or (kind is None and target in cases):
        return Withdrawal((target,), (), ())
    if kind == "patient" or (kind is None and target in patients):
        return _patient(target, known)
    if kind == "source" or (kind is None and target in sources):
        return Withdrawal((), (), (target,))
    names: Iterable[str] = sorted(map(str, cases | sources))
    raise UsageError(
        f"{target!r}: neither a case, a patient nor a source of this corpus or of its newest inventory{nearest(target, names)}; "
        "say what it is with --as, to keep out what is not there yet"
    )


def _patient(pseudonym: str, known: pa.Table) -> Withdrawal:
    mine = known.filter(pc.equal(known["patient"], pa.scalar(pseudonym)))["case_id"].to_pylist()
    return Withdrawal(tuple(sorted(set(map(str, mine)))), (pseudonym,), ())


def _known(workspace: Workspace) -> pa.Table:
    """Case, patient and source of all that is published or was found last."""
    tables = []
    if (published := load_published(workspace.corpus)) is not None:
        tables += [t.select(list(COLUMNS)) for t in published.batches(COLUMNS)]
    with contextlib.suppress(UsageError):  # no inventory: what is published is all that is known
        tables.append(read_inventory(workspace).deciding.select(list(COLUMNS)))
    empty = pa.table({name: pa.array([], pa.string()) for name in COLUMNS})
    return pa.concat_tables([empty, *(t.cast(empty.schema) for t in tables)])
