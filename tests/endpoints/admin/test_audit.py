"""That no administrator's change goes by the audit log."""

from __future__ import annotations

from dhanam_jobs.handlers.service import deeds
from dhanam_jobs.handlers.service.deeds import Deed
from dhanam_jobs.http.endpoint import Guard
from dhanam_jobs.http.table import ENDPOINTS


def test_every_administrators_change_has_its_deed() -> None:
    """Whatever row is added."""
    changing = [row for row in ENDPOINTS if row.guard is Guard.ADMIN and row.changes]
    assert changing
    assert [str(row) for row in changing if not isinstance(getattr(row.run, "deed", None), Deed)] == []


def test_each_deed_is_named_once() -> None:
    """Two deeds of one action could not be told apart; and each is known to be grave or not."""
    known = [value for value in vars(deeds).values() if isinstance(value, Deed)]
    assert len({deed.action for deed in known}) == len(known)
    assert {deed.severity for deed in known} <= {"low", "medium", "high", "critical"}
    assert all(deed.action.startswith("admin.") for deed in known)
