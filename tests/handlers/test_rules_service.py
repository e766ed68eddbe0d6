"""Rules as people write them: who may, what is refused, presets that match, and what actions do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dhanam_jobs.handlers import rules_service
from dhanam_jobs.handlers.categorize_transactions import categorize_space
from dhanam_jobs.handlers.rules.writing import RuleRefused
from dhanam_jobs.handlers.rules_service import NotAllowed, NotFound, RulesService

if TYPE_CHECKING:
    from tests.handlers.conftest import Household

OXXO = [{"field": "description", "operator": "contains", "value": "oxxo"}]


async def test_a_rule_is_written_listed_changed_and_removed(household: Household) -> None:
    """Lists are in the order in which rules are tried, and hold disabled ones too."""
    service = RulesService(household.store)
    first = await service.create_rule("ana", "home", "food", "Tienda", OXXO)
    second = await service.create_rule("ana", "home", "fuel", "Otra", OXXO, 5, enabled=False)
    assert await service.get_rules_for_space("luis", "home") == [second, first]
    assert await service.get_rules_for_category("ana", "home", "food") == [first]
    changed = await service.update_rule("ana", "home", first.id, name="Tiendas", priority=9, category_id="fuel")
    assert (changed.name, changed.priority, changed.category_id) == ("Tiendas", 9, "fuel")
    assert (changed.conditions, changed.enabled) == (OXXO, True)
    await service.delete_rule("ana", "home", first.id)
    assert await service.get_rules_for_space("ana", "home") == [second]


async def test_only_members_write_and_only_the_spaces_own_people_read(household: Household) -> None:
    """A viewer reads; a stranger and the owner of other books see and change nothing."""
    service = RulesService(household.store)
    rule = await service.create_rule("ana", "home", "food", "Tienda", OXXO)
    for who in ("luis", "eva", "nobody"):
        with pytest.raises(NotAllowed):
            await service.create_rule(who, "home", "food", "Mía", OXXO)
        with pytest.raises(NotAllowed):
            await service.update_rule(who, "home", rule.id, enabled=False)
        with pytest.raises(NotAllowed):
            await service.delete_rule(who, "home", rule.id)
        with pytest.raises(NotAllowed):
            await service.create_common_rules(who, "home")
    for who in ("eva", "nobody"):
        with pytest.raises(NotAllowed):
            await service.get_rules_for_space(who, "home")
    for space in ("other", "home"):
        # By the path of one's own space nobody reaches another's rule either.
        with pytest.raises((NotFound, NotAllowed)):
            await service.delete_rule("eva", space, rule.id)
        with pytest.raises((NotFound, NotAllowed)):
            await service.update_rule("eva", space, rule.id, enabled=False)
    assert await service.get_rules_for_space("ana", "home") == [rule]


async def test_a_category_of_another_space_is_refused(household: Household) -> None:
    """In the rule, in its action, and when it is changed."""
    service = RulesService(household.store)
    rule = await service.create_rule("ana", "home", "food", "Tienda", OXXO)
    with pytest.raises(NotFound, match="category 'alien'"):
        await service.create_rule("ana", "home", "alien", "Tienda", OXXO)
    actions = [{"type": "set_category", "categoryId": "alien"}]
    with pytest.raises(NotFound, match="category 'alien'"):
        await service.create_rule("ana", "home", None, "Tienda", OXXO, actions=actions)
    with pytest.raises(NotFound, match="category 'alien'"):
        await service.update_rule("ana", "home", rule.id, category_id="alien")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conditions": []}, "conditions: wanted a list of 1 to 20"),
        ({"conditions": [{"field": "mood", "operator": "equals", "value": "x"}]}, "field: found 'mood'"),
        ({"conditions": [{"field": "description", "operator": "between", "value": "x"}]}, "operator: found 'between'"),
        ({"conditions": [{"field": "amount", "operator": "equals", "value": "100"}]}, "value: found '100'"),
        ({"conditions": [{"field": "amount", "operator": "between", "value": 5}]}, "valueEnd: found None"),
        ({"conditions": [{"field": "description", "operator": "regex", "value": "("}]}, "is no RE2 pattern"),
        ({"conditions": [{"field": "description", "operator": "contains", "value": " "}]}, "wanted a text"),
        ({"conditions": [{**OXXO[0], "colour": 1}]}, "found colour"),
        ({"actions": [{"type": "dance", "value": "x"}]}, "found 'dance'"),
        ({"actions": [{"type": "set_tag"}]}, "set_tag without what it sets"),
        ({"category_id": None}, "category: found none"),
        ({"name": " "}, "name: wanted"),
        ({"priority": True}, "priority: found True"),
    ],
)
async def test_a_rule_that_can_not_work_is_refused(household: Household, change: Any, message: str) -> None:
    """When it is made and when it is changed, with what was found; nothing is stored."""
    service = RulesService(household.store)
    whole = {"category_id": "food", "name": "Tienda", "conditions": OXXO, **change}
    with pytest.raises(RuleRefused, match=message.replace("(", r"\(")):
        await service.create_rule("ana", "home", **whole)
    assert await service.get_rules_for_space("ana", "home") == []
    rule = await service.create_rule("ana", "home", "food", "Tienda", OXXO)
    with pytest.raises(RuleRefused):
        await service.update_rule("ana", "home", rule.id, **change)
    assert await service.get_rules_for_space("ana", "home") == [rule]


async def test_presets_match_what_they_are_for(household: Household) -> None:
    """Each alternative is found as a word; a second call adds nothing; no category, no preset."""
    budget = {"budget_id": "budget"}
    await household.store.budgets.upsert_categories(
        [
            {"id": "super", "name": "Groceries", **budget},
            {"id": "eat", "name": "Dining out", **budget},
            {"id": "cash", "name": "Cash", **budget},
        ]
    )
    service = RulesService(household.store)
    made = await service.create_common_rules("ana", "home")
    assert {rule.category_id for rule in made} == {"super", "fuel", "eat", "cash"}
    assert {rule.priority for rule in made} == {100}
    assert await service.create_common_rules("ana", "home") == []
    wanted = {
        "a WALMART SUPERCENTER": "super",
        "b PEMEX ES 5518": "fuel",
        "c GASOLINA MAGNA": "fuel",
        "d CAFÉ EL JAROCHO": "eat",
        "e STARBUCKS CENTRO": "eat",
        "f RETIRO CAJERO AUTOMATICO": "cash",
        "g GASTOS MEDICOS": None,
        "h SPEI ENVIADO": None,
    }
    ids = await household.insert(*(household.row(text, text) for text in wanted))
    await categorize_space(household.store, "home")
    assert [await household.category_of(each) for each in ids] == list(wanted.values())


async def test_a_rules_actions_are_done_and_keep_what_is_there(household: Household) -> None:
    """Tags join, the merchant is set, other metadata stays; a category may come by action alone."""
    actions = [
        {"type": "set_category", "categoryId": "fuel"},
        {"type": "set_tag", "tagId": "coche"},
        {"type": "set_tag", "value": "viaje"},
        {"type": "set_merchant", "value": "Pemex"},
        {"type": "link_recurring", "value": "rec-1"},
    ]
    service = RulesService(household.store)
    conditions = [{"field": "description", "operator": "startsWith", "value": "pemex"}]
    await service.create_rule("ana", "home", None, "Gasolina", conditions, actions=actions)
    (filled,) = await household.insert(household.row("1", "PEMEX 1", metadata={"tags": ["viaje"], "mask": "44"}))
    assert (await categorize_space(household.store, "home")).categorized == 1
    assert await household.facts(filled) == (
        "fuel",
        "Pemex",
        {"tags": ["viaje", "coche"], "mask": "44", "recurringId": "rec-1"},
    )


async def test_a_stored_rule_whose_category_is_in_its_action_gives_it(household: Household) -> None:
    """As older rules are stored; an action that names another space's category does nothing."""
    for rule_id, category, priority in (("good", "food", 1), ("alien", "alien", 2)):
        await household.rule(
            rule_id, "oxxo", None, priority=priority, actions=[{"type": "set_category", "categoryId": category}]
        )
    (bought,) = await household.insert(household.row("1", "oxxo"))
    await categorize_space(household.store, "home")
    assert await household.category_of(bought) == "food"


async def test_a_preview_tells_what_a_rule_would_match_and_looks_at_so_many_at_most(
    household: Household, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what has no category; members of any role may ask, strangers may not; nothing is written."""
    service = RulesService(household.store)
    await household.insert(*(household.row(f"{n:04}", "OXXO" if n % 2 else "CFE") for n in range(1200)))
    told = await service.preview_rule("luis", "home", OXXO)
    assert (told.matched, told.searched, told.total, len(told.examples)) == (600, 1200, 1200, 10)
    assert {each.description for each in told.examples} == {"OXXO"}
    monkeypatch.setattr(rules_service, "MOST_PREVIEWED", 700)
    told = await service.preview_rule("ana", "home", OXXO)
    assert (told.searched, told.total) == (1000, 1200)
    with pytest.raises(NotAllowed):
        await service.preview_rule("eva", "home", OXXO)
    with pytest.raises(RuleRefused):
        await service.preview_rule("ana", "home", [])
    assert await service.get_rules_for_space("ana", "home") == []
