"""A space's rules over HTTP: who may, what is refused, and that a rule written here is the one that categorises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.endpoints.conftest import Service

RULES = "/spaces/space-1/rules"
OXXO = {"field": "description", "operator": "contains", "value": "oxxo"}
DRAFT = {"name": "Shops", "conditions": [OXXO], "categoryId": "coffee", "priority": 5}


async def written(service: Service, **more: Any) -> dict[str, Any]:
    """A new rule, as the answer tells it."""
    answer = await service.ask("POST", RULES, "mia", json={**DRAFT, **more})
    assert answer.status_code == 201, answer.text
    rule: dict[str, Any] = answer.json()
    return rule


async def test_a_rule_is_written_listed_changed_and_removed(service: Service) -> None:
    """Under the prefix too; a disabled one is in the list."""
    rule = await written(service)
    assert rule == {
        "id": rule["id"],
        "name": "Shops",
        "priority": 5,
        "conditions": [OXXO],
        "actions": [],
        "categoryId": "coffee",
        "enabled": True,
    }
    path = f"/v1{RULES}/{rule['id']}"
    assert (await service.ask("GET", path, "vera")).json() == rule
    listed = (await service.ask("GET", RULES, "vera")).json()
    assert [each["id"] for each in listed] == [rule["id"], "r1"]
    sized = {"field": "amount", "operator": "between", "value": 10, "valueEnd": 99.5}
    change = {"conditions": [{**OXXO, "caseInsensitive": False}, sized], "enabled": False, "priority": -1}
    changed = (await service.ask("PATCH", path, "mia", json=change)).json()
    assert changed == {**rule, **change}
    assert [each["id"] for each in (await service.ask("GET", RULES, "mia")).json()] == ["r1", rule["id"]]
    assert (await service.ask("DELETE", path, "mia")).json() == {"id": rule["id"], "removed": True}
    for method in ("GET", "PATCH", "DELETE"):
        assert (await service.ask(method, path, "mia")).status_code == 404


async def test_the_list_is_that_of_a_category_where_one_is_named(service: Service) -> None:
    """Of one that nobody has, there are none."""
    await service.store.budgets.upsert_categories([{"id": "fares", "budget_id": "year", "name": "Fares"}])
    rule = await written(service, categoryId="fares")
    found = await service.ask("GET", RULES, "vera", params={"categoryId": "fares"})
    assert [each["id"] for each in found.json()] == [rule["id"]]
    assert (await service.ask("GET", RULES, "vera", params={"categoryId": "none\u20ac"})).json() == []


async def test_a_rule_that_was_written_categorises(service: Service) -> None:
    """And what it would match is told before."""
    asked = await service.ask("POST", f"{RULES}/preview", "mia", json={"conditions": [OXXO]})
    told = asked.json()
    (example,) = told.pop("examples")
    assert told == {"matched": 1, "searched": 5, "total": 5}
    assert (example["description"], example["amount"]) == ("OXXO", -45.5)
    await written(service)
    async with service.worker():
        answer = await service.ask("POST", "/jobs/categorize/space-1", "mia")
    assert answer.json()["categorized"] == 4


async def test_presets_are_written_once_where_a_category_fits(service: Service) -> None:
    """They are for categories by their names."""
    await service.store.budgets.upsert_categories([{"id": "gas", "budget_id": "year", "name": "Gasolina"}])
    made = await service.ask("POST", f"{RULES}/presets", "mia")
    assert made.status_code == 201
    assert [(each["name"], each["categoryId"]) for each in made.json()] == [("Gasolina", "gas")]
    assert (await service.ask("POST", f"{RULES}/presets", "mia")).json() == []


async def test_a_rule_of_another_space_is_not_found_and_its_category_is_none_of_ours(service: Service) -> None:
    """Who belongs to both spaces reaches each rule by its own space alone."""
    store = service.store
    await store.spaces.upsert_members([{"user_id": "mia", "space_id": "space-2", "role": "owner"}])
    await store.budgets.upsert([{"id": "b2", "space_id": "space-2", "name": "Year"}])
    await store.budgets.upsert_categories([{"id": "c2", "budget_id": "b2", "name": "Fares"}])
    rule = await written(service)
    for method in ("GET", "PATCH", "DELETE"):
        answer = await service.ask(method, f"/spaces/space-2/rules/{rule['id']}", "mia")
        assert answer.status_code == 404, method
    for method, path, body in (
        ("POST", RULES, {**DRAFT, "categoryId": "c2"}),
        ("POST", RULES, {**DRAFT, "categoryId": "nowhere"}),
        ("PATCH", f"{RULES}/{rule['id']}", {"categoryId": "c2"}),
    ):
        answer = await service.ask(method, path, "mia", json=body)
        assert answer.status_code == 404
        assert "category" in answer.json()["error"]["message"]
    assert (await service.ask("GET", f"{RULES}/{rule['id']}", "mia")).json() == rule


async def test_viewers_look_and_change_nothing(service: Service) -> None:
    """Nor do demo tokens; strangers don't even look, an administrator of the service neither."""
    rule = await written(service)
    path = f"{RULES}/{rule['id']}"
    for user in ("vera", "vera+demo", "mia+demo"):
        assert (await service.ask("GET", RULES, user)).status_code == 200
        for method, where, body in (("POST", RULES, DRAFT), ("PATCH", path, {"enabled": False}), ("DELETE", path, {})):
            assert (await service.ask(method, where, user, json=body)).status_code == 403
    for user in ("otto", "root"):
        assert (await service.ask("GET", RULES, user)).status_code == 403
        assert (await service.ask("GET", path, user)).status_code == 403
    assert (await service.ask("GET", path, "mia")).json() == rule


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": ""}, "$.name"),
        ({"name": "   "}, "name"),
        ({"conditions": []}, "$.conditions"),
        ({"conditions": [OXXO] * 21}, "$.conditions"),
        ({"conditions": [{**OXXO, "field": "payee"}]}, "$.conditions[0].field"),
        ({"conditions": [{**OXXO, "operator": "like"}]}, "$.conditions[0].operator"),
        ({"conditions": [{**OXXO, "operator": "greaterThan"}]}, "conditions[0].operator"),
        ({"conditions": [{**OXXO, "operator": "regex", "value": "(a"}]}, "conditions[0].value"),
        ({"conditions": [{**OXXO, "operator": "regex", "value": r"(a)\1"}]}, "conditions[0].value"),
        ({"conditions": [{**OXXO, "value": 5}]}, "conditions[0].value"),
        ({"conditions": [{"field": "amount", "operator": "equals", "value": "5"}]}, "conditions[0].value"),
        ({"conditions": [{"field": "amount", "operator": "equals", "value": -5}]}, "$.conditions[0].value"),
        ({"conditions": [{"field": "amount", "operator": "equals", "value": 10**400}]}, "conditions[0].value"),
        ({"conditions": [{"field": "amount", "operator": "between", "value": 5}]}, "conditions[0].valueEnd"),
        (
            {"conditions": [{"field": "amount", "operator": "between", "value": 5, "valueEnd": 4}]},
            "conditions[0].valueEnd",
        ),
        ({"conditions": [{**OXXO, "case": True}]}, "case"),
        ({"actions": [{"type": "set_tag"}]}, "actions[0]"),
        ({"actions": [{"type": "send_money", "value": "1"}]}, "$.actions[0].type"),
        ({"actions": [{"type": "set_category", "categoryId": "other"}]}, "category"),
        ({"priority": 1.5}, "$.priority"),
        ({"priority": 10_000_000}, "$.priority"),
        ({"enabled": "yes"}, "$.enabled"),
        ({"spaceId": "space-2"}, "spaceId"),
    ],
)
async def test_a_rule_that_can_not_work_is_refused_with_the_place(
    service: Service, change: dict[str, Any], text: str
) -> None:
    """Written or changed, and nothing is kept."""
    rule = await written(service)
    for method, path, body in (("POST", RULES, {**DRAFT, **change}), ("PATCH", f"{RULES}/{rule['id']}", change)):
        answer = await service.ask(method, path, "mia", json=body)
        assert answer.status_code == 422, answer.text
        assert text in answer.json()["error"]["message"]
    kept = (await service.ask("GET", RULES, "mia")).json()
    assert [each for each in kept if each["id"] != "r1"] == [rule]


async def test_a_rule_without_a_category_is_refused(service: Service) -> None:
    """It may come by an action instead."""
    bare = {name: value for name, value in DRAFT.items() if name != "categoryId"}
    refused = await service.ask("POST", RULES, "mia", json=bare)
    assert refused.status_code == 422
    assert "category" in refused.json()["error"]["message"]
    by_action = [{"type": "set_category", "categoryId": "coffee"}, {"type": "set_tag", "tagId": "shops"}]
    made = await service.ask("POST", RULES, "mia", json={**bare, "actions": by_action})
    assert (made.json()["categoryId"], made.json()["actions"]) == ("coffee", by_action)


@pytest.mark.parametrize("rule_id", ["%00", "%ED%A0%80", "x" * 3000, "presets", "..%2F", "%F0%9F%92%B8"])
async def test_a_rule_id_that_can_not_be_is_404(service: Service, rule_id: str) -> None:
    """Whatever stands in the address."""
    for method in ("GET", "PATCH", "DELETE"):
        assert (await service.ask(method, f"{RULES}/{rule_id}", "mia")).status_code == 404
