"""Who is asked for a key: the server in the URL, and on a cluster whoever was last said to hold its slot."""

from __future__ import annotations

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError

from dhanam_jobs.engine.link import Unreachable, routes_of
from dhanam_jobs.engine.routes import Routes

HOME, OTHER, THIRD = ("home", 6379), ("other", 7000), ("third", 7001)
SLOT = key_slot(b"jobs:{q}")


def test_one_server_is_asked_for_everything_also_when_it_does_not_answer() -> None:
    """There is nobody else."""
    routes = Routes(HOME)
    assert routes.of("jobs:{q}") == HOME
    assert routes.after(HOME) == HOME
    routes.left("jobs:{q}", HOME)
    assert routes.of("jobs:{q}") == HOME


def test_a_unix_socket_has_no_address() -> None:
    """Its connections keep the path that the URL gave."""
    assert routes_of("unix:///tmp/redis.sock").of("jobs:{q}") is None
    assert routes_of("redis://box:7/3").of("jobs:{q}") == ("box", 7)


def test_a_moved_slot_is_asked_for_where_it_was_moved_to_and_other_slots_as_before() -> None:
    """All keys of a queue are one slot."""
    routes = Routes(HOME)
    assert routes.moved(MovedError(f"{SLOT} other:7000"), HOME) == OTHER
    assert routes.of("jobs:{q}:meta") == OTHER
    assert routes.of("jobs:{other}") == HOME


def test_a_server_that_names_no_host_means_its_own() -> None:
    """A cluster may be set up not to know its servers' names."""
    assert Routes(HOME).moved(MovedError(f"{SLOT} :7000"), OTHER) == ("other", 7000)


def test_a_server_that_does_not_answer_is_left_for_the_next_one_round_and_round() -> None:
    """Any server knows who holds a slot, replicas too."""
    routes = Routes(HOME)
    routes.learn([[0, 8191, [b"home", 6379, b"id"], [b"third", 7001, b"id"]], [8192, 16383, [b"other", 7000, b"id"]]])
    asked = []
    for _ in range(3):
        address = routes.of("jobs:{q}")
        asked.append(address)
        routes.left("jobs:{q}", address)
    assert set(asked) == {HOME, OTHER, THIRD}
    assert routes.of("jobs:{q}") == asked[0]


def test_a_slot_on_its_way_is_out_of_reach_and_nobody_is_asked_instead() -> None:
    """A script that ran at the new server would find half of its keys."""
    assert isinstance(AskError(f"{SLOT} other:7000"), Unreachable)
