"""Rejects that a killed publish did not come to: the next plan must know what could not be made."""

from __future__ import annotations

from mdfp import manifest as manifests
from mdfp.errors import CorpusError
from pipelines.build import AuditError, audit_published
from pipelines.workspace import Workspace
from schemas.case import Reject
from transforms import commit
from transforms import publish as assembly


def write_missing_rejects(workspace: Workspace, newest: int) -> list[int]:
    """Write the rejects of every published generation that lacks them, from its plan and markers.

    A manifest is visible before its rejects are. Whoever plans between the two would try that generation's holes again,
    and count them twice.

    Args:
        workspace: the corpus.
        newest: number of the manifest that is planned upon; 0: none.

    Returns:
        The generations that now have theirs. One whose plan or markers were removed is passed over.
    """
    store = workspace.corpus
    there = {o.path for o in store.list("rejects")}
    written = []
    for number in range(1, newest + 1):
        path = assembly.rejects_path(number)
        if path in there:
            continue
        name = manifests.manifest_path(number)
        manifest = manifests.parse(store.read(name), store.url(name))
        try:
            plan, markers = audit_published(workspace, manifest.plan_id)
        except (CorpusError, AuditError):
            continue
        # Equal rows, whoever writes them: the killed publish itself may yet turn out to be alive.
        commit.replace(assembly.table_bytes(Reject, assembly.all_rejects(plan, markers)), store, path)
        written.append(number)
    return written
