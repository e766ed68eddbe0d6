"""What a space is worth: rates crossed, accounts added up, a day kept, days read as a trend."""

from dhanam_jobs.handlers.valuations.snapshot import NothingValued, Snapshot, take_snapshot
from dhanam_jobs.handlers.valuations.totals import RateBook, Totals, add_up
from dhanam_jobs.handlers.valuations.trend import NetWorth, net_worth_trend

__all__ = [
    "NetWorth",
    "NothingValued",
    "RateBook",
    "Snapshot",
    "Totals",
    "add_up",
    "net_worth_trend",
    "take_snapshot",
]
