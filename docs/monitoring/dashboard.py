"""Writes dashboard.json, which Grafana (10 or newer) imports: `python docs/monitoring/dashboard.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("dashboard.json")

_SOURCE = {"type": "prometheus", "uid": "${source}"}
_QUEUES = 'queue=~"$queue"'


def _rate(metric: str, by: str, extra: str = "") -> str:
    return f"max by ({by}) (rate(dhanam_jobs_{metric}{{{_QUEUES}{extra}}}[$__rate_interval]))"


def _quantile(share: float, metric: str, by: str, where: str) -> str:
    inner = f"max by (le, {by}) (rate(dhanam_jobs_{metric}_bucket{{{where}}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {inner})"


def _max(metric: str, by: str = "queue", where: str = _QUEUES) -> str:
    return f"max by ({by}) (dhanam_jobs_{metric}{{{where}}})"


# Title, unit, width of 24, and queries with their legends; a row's panels stand side by side.
PANELS: list[tuple[str, str, int, list[tuple[str, str]]]] = [
    ("Waiting jobs", "short", 8, [(_max("jobs", where=f'{_QUEUES}, state="waiting"'), "{{queue}}")]),
    ("Oldest waiting job", "s", 8, [(_max("oldest_waiting_seconds"), "{{queue}}")]),
    ("Workers", "short", 8, [(_max("workers"), "{{queue}}")]),
    ("Jobs by state", "short", 12, [(_max("jobs", "queue, state"), "{{queue}} {{state}}")]),
    ("Jobs stored and ended per second", "ops", 12, [
        (_rate("added_total", "queue"), "{{queue}} added"),
        (_rate("ended_total", "queue, state"), "{{queue}} {{state}}"),
    ]),
    ("Attempts per second, by outcome", "ops", 12, [
        (_rate("attempts_total", "name, outcome"), "{{name}} {{outcome}}"),
    ]),
    ("Share of attempts that failed for good", "percentunit", 12, [(
        f'{_rate("attempts_total", "name", ", outcome=" + chr(34) + "failed" + chr(34))} / '
        f'{_rate("run_seconds_count", "name")}',
        "{{name}}",
    )]),
    ("Run time, 95 %", "s", 12, [(_quantile(0.95, "run_seconds", "name", _QUEUES), "{{name}}")]),
    ("Wait until an attempt begins, 95 %", "s", 12, [(_quantile(0.95, "wait_seconds", "name", _QUEUES), "{{name}}")]),
    ("Slots in use", "percentunit", 8, [
        (f'{_max("jobs", where=_QUEUES + ", state=" + chr(34) + "active" + chr(34))} / {_max("slots")}', "{{queue}}"),
    ]),
    ("Stalls in an hour", "short", 8, [
        (f"max by (queue) (increase(dhanam_jobs_stalls_total{{{_QUEUES}}}[1h]))", "{{queue}}"),
    ]),
    ("Dead letters", "short", 8, [(_max("dead_letters"), "{{queue}}")]),
    ("Until a limit opens", "s", 8, [(_max("limit_opens_seconds"), "{{queue}}")]),
    ("Paused queues", "short", 8, [(_max("paused"), "{{queue}}")]),
    ("Overdue schedule", "s", 8, [("max(dhanam_jobs_schedule_overdue_seconds)", "most overdue")]),
    ("Event loop", "s", 8, [
        ("dhanam_jobs_event_loop_lag_seconds", "{{instance}}"),
        ("max(dhanam_jobs_fleet_event_loop_lag_seconds)", "slowest worker"),
    ]),
    ("Redis", "s", 8, [("dhanam_jobs_redis_latency_seconds", "{{instance}} PING")]),
    ("Redis answers", "short", 8, [("dhanam_jobs_redis_up", "{{instance}}")]),
    ("Requests per second, by route", "reqps", 12, [
        ("sum by (route, status) (rate(dhanam_jobs_http_request_seconds_count[$__rate_interval]))",
         "{{route}} {{status}}"),
    ]),
    ("Answer time, 95 %", "s", 12, [(
        "histogram_quantile(0.95, sum by (le, route) "
        "(rate(dhanam_jobs_http_request_seconds_bucket[$__rate_interval])))",
        "{{route}}",
    )]),
    ("Memory", "bytes", 12, [("dhanam_jobs_process_resident_memory_bytes", "{{instance}}")]),
    ("CPU", "percentunit", 12, [
        ("rate(dhanam_jobs_process_cpu_seconds_total[$__rate_interval])", "{{instance}}"),
    ]),
]  # fmt: skip


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    panels, x, y = [], 0, 0
    for number, (title, unit, width, queries) in enumerate(PANELS, 1):
        if x + width > 24:
            x, y = 0, y + 8
        panels.append(
            {
                "id": number,
                "type": "timeseries",
                "title": title,
                "datasource": _SOURCE,
                "gridPos": {"x": x, "y": y, "w": width, "h": 8},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
                "targets": [
                    {"refId": chr(65 + index), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
                    for index, (query, legend) in enumerate(queries)
                ],
            }
        )
        x += width
    variable = {
        "name": "queue",
        "type": "query",
        "label": "Queue",
        "datasource": _SOURCE,
        "query": {"query": "label_values(dhanam_jobs_jobs, queue)", "refId": "queue"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
    }
    source = {"name": "source", "type": "datasource", "label": "Prometheus", "query": "prometheus"}
    return {
        "title": "Dhanam Jobs",
        "uid": "dhanam-jobs",
        "schemaVersion": 39,
        "tags": ["dhanam-jobs"],
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "timezone": "browser",
        "templating": {"list": [source, variable]},
        "panels": panels,
    }


def text() -> str:
    """dashboard.json as it should stand."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text())
