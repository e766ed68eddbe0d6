"""The alerts and the dashboard: right by Prometheus's own tool, and about metrics that `/metrics` really gives."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dhanam_jobs.engine import Worker
from tests.conftest import absent

if TYPE_CHECKING:
    from tests.endpoints.conftest import Service

FOLDER = Path(__file__).parents[2] / "docs" / "monitoring"
_NAME = re.compile(r"\bdhanam_jobs_\w+")
_SELECTOR = re.compile(r"\b(dhanam_jobs_\w+)\{([^}]*)\}")


def promtool(*arguments: str) -> str:
    """What promtool says, once it is content."""
    if shutil.which("promtool") is None:
        absent("promtool (in the package prometheus)")
    done = subprocess.run(["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_alert_rules_are_rules_and_fire_when_they_should() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")


def test_every_alert_is_tested() -> None:
    alerts = set(re.findall(r"alert: (\w+)", (FOLDER / "alerts.yml").read_text()))
    tested = set(re.findall(r"alertname: (\w+)", (FOLDER / "alerts_test.yml").read_text()))
    assert alerts == tested


def queries() -> list[str]:
    """All that the alerts and the dashboard ask Prometheus."""
    asked = [
        target["expr"]
        for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]
        for target in panel["targets"]
    ]
    return [*asked, (FOLDER / "alerts.yml").read_text()]


async def test_the_alerts_and_the_dashboard_ask_for_what_there_is(service: Service) -> None:
    """Every metric is one that a working service tells, and has the labels that are asked for."""
    await service.ask("GET", "/metrics")
    async with Worker(service.engine.queue("categorize-transactions"), resources=None):
        await service.ask("POST", "/jobs/categorize/space-1", "olivia")  # fails: there is no store; it is counted
    service.metrics._rendered_s = float("-inf")
    told: dict[str, set[str]] = {}
    for family in text_string_to_metric_families((await service.ask("GET", "/metrics")).text):
        for sample in family.samples:
            told.setdefault(sample.name, set()).update(sample.labels)
    asked = {name for query in queries() for name in _NAME.findall(query)}
    assert len(asked) > 15
    assert asked <= told.keys()
    for query in queries():
        for name, selector in _SELECTOR.findall(query):
            labels = set(re.findall(r"(\w+)=", selector))
            assert labels <= told[name], name


def test_the_page_names_every_metric_that_is_asked_for() -> None:
    page = (FOLDER.parent / "monitoring.md").read_text()
    for name in {name for query in queries() for name in _NAME.findall(query)}:
        short = re.sub(r"_(count|bucket|sum)$", "", name.removeprefix("dhanam_jobs_"))
        assert f"`{short}`" in page or short.startswith("process_"), short


def test_the_dashboard_is_as_its_maker_writes_it() -> None:
    spec = importlib.util.spec_from_file_location("dashboard", FOLDER / "dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (FOLDER / "dashboard.json").read_text() == module.text()


@pytest.mark.parametrize("query", [query for query in queries() if "$" in query and "alert:" not in query])
def test_every_query_of_the_dashboard_is_promql(query: str, tmp_path: Path) -> None:
    """With Grafana's variables filled in, as a rule that promtool reads."""
    filled = query.replace("$__rate_interval", "1m").replace("$queue", ".*")
    rules = tmp_path / "rules.yml"
    rules.write_text(json.dumps({"groups": [{"name": "g", "rules": [{"record": "r", "expr": filled}]}]}))
    promtool("check", "rules", str(rules))
