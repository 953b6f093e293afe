"""Tasks on a SQLite file and on a real PostgreSQL: a restart with leases under way, nodes that do not answer,
a database that is older than its nodes, and results that come late.
"""

import pytest
from center_tasks.databases import Databases, MakeStage, RealStage, with_nodes
from center_tasks.databases import databases as databases
from center_tasks.databases import make as make
from center_tasks.databases import server as server
from farshore_center.db.database import Database
from farshore_center.tasks.leases import over_s

pytestmark = pytest.mark.processes

LEASE_S = 10.0
STOP = {"on_disconnect": "stop", "lost_after_s": LEASE_S}
KEEP = {"lost_after_s": 10.0}


# A restart with leases under way


async def test_after_a_restart_nothing_is_granted_before_the_lease_is_surely_over(
    databases: Databases, make: MakeStage
) -> None:
    stage = await with_nodes(databases, make, "n1", "n2")
    await stage.put("pump", disconnect=STOP)
    await stage.step()
    holder = await stage.node_of("pump")
    rest = stage.others(holder)
    await stage.leases(stage.nodes[holder])
    await stage.later(9.0, *rest)
    # Nobody knows any more when it was answered last: as if it had been now.
    begun_s = stage.clock.now_s
    await stage.begin_again(*rest)
    await stage.later(over_s(begun_s, LEASE_S) - begun_s - 0.01, *rest)
    assert await stage.where("pump") == [(holder, "lost")]
    await stage.later(0.02, *rest)
    assert await stage.where("pump") == [(rest[0], "running")]


async def test_a_lease_that_the_new_center_renews_counts_from_there(
    databases: Databases, make: MakeStage
) -> None:
    stage = await with_nodes(databases, make, "n1", "n2")
    await stage.put("pump", disconnect=STOP)
    await stage.step()
    holder = await stage.node_of("pump")
    rest = stage.others(holder)
    await stage.begin_again(*rest)
    await stage.later(4.0, *rest)
    stage.come(holder)
    await stage.leases(stage.nodes[holder])
    assert stage.room.stats()["leases_answered"] == 1, "it is renewed before any new decision"
    renewed_s = stage.clock.now_s
    await stage.step()
    await stage.later(over_s(renewed_s, LEASE_S) - renewed_s - 0.01, *rest)
    assert await stage.node_of("pump") == holder
    await stage.later(0.02, *rest)
    assert await stage.where("pump") == [(rest[0], "running")]


# A node that does not answer


async def test_a_document_is_sent_again_until_the_node_says_that_it_has_it(
    databases: Databases, make: MakeStage
) -> None:
    stage = await with_nodes(databases, make, "n1")
    node = stage.nodes["n1"]
    node.deaf = True
    await stage.put("web")
    sent = []
    for pause_s in (0.0, 4.9, 0.2, 9.8, 0.3, 19.6, 0.5):
        await stage.later(pause_s)
        sent.append(stage.room.stats()["sent_again"])
    assert stage.room.stats()["sent"] == 1
    assert sent == [0, 0, 1, 1, 2, 2, 3], "after 5, 10 and 20 seconds"
    assert stage.room.stats()["unheard"] == 1
    node.deaf = False
    await stage.later(40.0)
    assert await stage.where("web") == [("n1", "running")]
    for _ in range(10):
        await stage.later(100.0)
    assert stage.room.stats()["sent_again"] == 4, "what it has is sent no more"
    assert stage.room.stats()["unheard"] == 0


async def test_what_a_node_has_not_answered_is_sent_to_it_by_the_next_center(
    databases: Databases, make: MakeStage
) -> None:
    stage = await with_nodes(databases, make, "n1")
    stage.nodes["n1"].deaf = True
    await stage.put("web")
    await stage.step()
    stage.nodes["n1"].deaf = False
    await stage.begin_again("n1")
    assert await stage.where("web") == [("n1", "running")]
    assert len(await stage.grants("web")) == 1, "the same grant as before"


# A database that is older than its nodes


async def restored(stage: RealStage, databases: Databases) -> tuple[str, str, int]:
    """It is copied; then the service goes to another node; then the copy takes its place, and the center's
    clock stands where it stood then. The two nodes, and the epoch that the copy does not know."""
    await stage.put("web", disconnect=KEEP)
    await stage.step()
    before = await stage.node_of("web")
    await stage.database.stop()
    url = databases.copied("old", "now")
    await stage.database.start()
    copied_s = stage.clock.now_s
    await stage.begin_again(*stage.nodes)
    await stage.later(1000.0)
    stage.nodes[before].deaf = True
    for _ in range(3):
        await stage.later(10.0, *stage.others(before))
    stage.nodes[before].deaf = False
    after = await stage.node_of("web")
    assert after != before
    epoch = stage.grant(after, "web").epoch
    await stage.database.stop()
    stage.database = Database(url)
    await stage.database.start()
    stage.clock.now_s = copied_s + 1.0
    return before, after, epoch


async def test_a_restored_center_goes_beyond_the_epochs_that_its_nodes_report(
    databases: Databases, make: MakeStage
) -> None:
    stage = await with_nodes(databases, make, "n1", "n2", "n3")
    before, after, epoch = await restored(stage, databases)
    rev = stage.nodes[after].rev
    await stage.begin_again(*stage.nodes)
    for name, node in stage.nodes.items():
        await stage.say(name, node.report())
    await stage.step()
    assert await stage.where("web") == [(before, "running")], "what it knows of goes on"
    document = stage.nodes[after].document
    assert document is not None
    assert document.rev > rev, "its number goes beyond what the node has"
    assert document.grants == (), "what this center does not know of is ended"
    for _ in range(3):
        await stage.later(5.0, *stage.others(before))
    newest = stage.grant(await stage.node_of("web"), "web")
    assert newest.epoch > epoch > stage.clock.ms(), "though its clock is behind"


async def test_a_grant_of_an_old_epoch_is_refused_by_its_node_and_the_next_one_is_beyond(
    databases: Databases, make: MakeStage
) -> None:
    stage = await with_nodes(databases, make, "n1", "n2")
    _, after, epoch = await restored(stage, databases)
    # It decides before the node that had the newer one has told it.
    stage.nodes[after].deaf = True
    await stage.begin_again(after)
    await stage.later(11.0, after)
    assert await stage.where("web") == [(after, "granted")]
    stage.nodes[after].deaf = False
    await stage.later(6.0, after)
    [old] = [row for row in await stage.grants("web") if row["state"] == "rejected"]
    assert (old["node"], old["epoch"] < epoch) == (after, True)
    await stage.later(30.0, after)
    assert await stage.where("web") == [(after, "running")]
    assert stage.grant(after, "web").epoch > epoch


# Results


async def test_a_result_counts_once_and_that_of_an_old_epoch_is_refused_and_seen(
    databases: Databases, make: MakeStage
) -> None:
    stage = await with_nodes(databases, make, "n1", "n2")
    await stage.put("sums", kind="batch", disconnect=KEEP)
    await stage.step()
    first = await stage.node_of("sums")
    old = stage.grant(first, "sums")
    stage.nodes[first].deaf = True
    for _ in range(3):
        await stage.later(5.0, *stage.others(first))
    second = await stage.node_of("sums")
    assert second != first
    new = stage.grant(second, "sums")
    late = stage.at(first).succeeds(old, {"of": "the first"})
    await stage.say(first, late)
    assert await stage.where("sums") == [(second, "running")], "it changes nothing"
    [line] = [line for line in await stage.lines("sums") if line[0] == "result_refused"]
    assert line[1:] == (first, f"its epoch {old.epoch} is not the current one, {new.epoch}")
    word = stage.at(second).succeeds(new, {"of": "the second"})
    await stage.say(second, word)
    await stage.say(second, word, word)
    await stage.say(first, late)
    [instance] = await stage.instances("sums")
    assert (instance["state"], instance["result"]) == ("done", {"of": "the second"})
    assert stage.room.stats()["results"] == 1
    assert stage.room.stats()["results_refused"] == 1
    assert [line[0] for line in await stage.lines("sums")].count("done") == 1


async def test_of_two_results_in_one_transaction_that_of_the_current_epoch_is_taken(
    databases: Databases, make: MakeStage
) -> None:
    stage = await with_nodes(databases, make, "n1", "n2")
    await stage.put("sums", kind="batch", disconnect=KEEP)
    await stage.step()
    first = await stage.node_of("sums")
    old = stage.grant(first, "sums")
    stage.nodes[first].deaf = True
    for _ in range(3):
        await stage.later(5.0, *stage.others(first))
    second = await stage.node_of("sums")
    new = stage.grant(second, "sums")
    late = stage.at(first).succeeds(old, 1)
    word = stage.at(second).succeeds(new, 2)
    await stage.say_all((first, late), (second, word))
    [instance] = await stage.instances("sums")
    assert (instance["state"], instance["result"]) == ("done", 2)
    assert stage.room.stats()["results_refused"] == 1


async def test_a_lost_one_that_nobody_has_replaced_may_still_bring_its_result(
    databases: Databases, make: MakeStage
) -> None:
    stage = await with_nodes(databases, make, "n1", "n2")
    await stage.put("sums", kind="batch", disconnect=KEEP | {"replace": False})
    await stage.step()
    node = await stage.node_of("sums")
    await stage.later(20.0, *stage.others(node))
    assert await stage.where("sums") == [(node, "lost")]
    word = stage.at(node).succeeds(stage.grant(node, "sums"), 7)
    await stage.say(node, word)
    [instance] = await stage.instances("sums")
    assert (instance["state"], instance["result"]) == ("done", 7)
