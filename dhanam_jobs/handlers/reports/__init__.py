"""What a space's week and month were like, as the letters tell it. Reading rows is store/'s, sending is mail/'s."""

from dhanam_jobs.handlers.reports.month import month_before, month_report
from dhanam_jobs.handlers.reports.week import week_before, week_summary

__all__ = ["month_before", "month_report", "week_before", "week_summary"]
