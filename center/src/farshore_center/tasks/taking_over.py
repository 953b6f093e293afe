"""What a center that begins takes over from the database: drains, grants with their leases, kept places."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from farshore_protocol.tasks import TaskSpec
from sqlalchemy import Connection

from farshore_center.db.database import Database
from farshore_center.tasks import store
from farshore_center.tasks.books import Books
from farshore_center.tasks.claims import Claim, stored_claim
from farshore_center.tasks.leases import Leases
from farshore_center.tasks.placing import Placing
from farshore_center.tasks.records import Granted, Instance, Key, Task
from farshore_center.tasks.sites import Drain


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``unsettled``: instances to look at; ``occurrences``: tasks with their next one."""

    drains: dict[str, Drain]
    live: list[Granted]
    unsettled: list[Key]
    occurrences: list[tuple[str, int]]


async def found(database: Database) -> Found:
    def read(conn: Connection) -> Found:
        return Found(
            drains={
                row.node: Drain(until_ms=row.drain_until_ms)
                for row in store.all_nodes(conn).values()
                if row.drained
            },
            live=store.all_live_grants(conn),
            unsettled=store.unsettled(conn) + store.begun_anew(conn),
            occurrences=store.next_occurrences(conn),
        )

    return await database.read(read)


async def take_over(
    database: Database,
    books: Books,
    leases: Leases,
    placing: Placing,
    of: Found,
    now_ms: Callable[[], int],
) -> None:
    """Leases are renewed at once, and all that is granted or kept is booked before anything new is placed."""
    keys = [*dict.fromkeys([*(grant.of for grant in of.live), *of.unsettled])]

    def load(
        conn: Connection,
    ) -> tuple[dict[Key, Instance], dict[tuple[str, int], TaskSpec], dict[str, Task]]:
        instances = store.load_instances(conn, keys)
        wanted = {(grant.task, grant.revision) for grant in of.live}
        claiming = {key[0] for key, each in instances.items() if stored_claim(key, each.decision)}
        return instances, store.specs(conn, wanted), store.load_tasks(conn, claiming)

    instances, specs, tasks = await database.read(load)
    _adopt(books, leases, of.live, instances, specs)
    await books.prepare(task.spec for task in tasks.values())
    for key, instance in instances.items():
        task, claim = tasks.get(key[0]), _claim(instance)
        if task is not None and claim is not None and task.wants(key[1]):
            placing.restore(claim, books.demand(task, instance, now_ms(), {}))


def _claim(instance: Instance) -> Claim | None:
    return None if instance.state != "pending" else stored_claim(instance.key, instance.decision)


def _adopt(
    books: Books,
    leases: Leases,
    live: Sequence[Granted],
    instances: dict[Key, Instance],
    specs: dict[tuple[str, int], TaskSpec],
) -> None:
    by_key: dict[Key, list[Granted]] = {}
    for grant in live:
        by_key.setdefault(grant.of, []).append(grant)
    for key, grants in by_key.items():
        of_task = {rev: spec for (task, rev), spec in specs.items() if task == key[0]}
        books.follow(key, grants, of_task)
        instance = instances.get(key)
        if instance is not None:
            books.expect_stored(instance, grants)
        for grant in grants:
            if instance is not None and instance.epoch == grant.epoch and grant.want == "run":
                leases.open(grant)
