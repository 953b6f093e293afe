"""How many instances of a service may be ended on purpose at once: a quarter, and always one. Pure but for
the question that counts them."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, and_, case, func, select

from farshore_center.tasks.model import grants, instances

SHARE = 0.25
ANY = 2**31


class Budget:
    """``standing``: by task, how many instances are wanted and how many of them are at work. For one round:
    what was taken counts. ``refusals``: how often it was in vain."""

    def __init__(self, standing: Mapping[str, tuple[int, int]]) -> None:
        self.refusals = 0
        self._left = {
            task: max(1, int(wanted * SHARE)) - (wanted - up)
            for task, (wanted, up) in standing.items()
        }

    def knows(self, task: str) -> bool:
        return task in self._left

    def left(self, task: str) -> int:
        """How many more may be ended now; any number of a task that has no budget, as a batch."""
        return self._left.get(task, ANY)

    def take(self, task: str) -> bool:
        if self.left(task) < 1:
            self.refusals += 1
            return False
        self._left[task] = self.left(task) - 1
        return True

    def gone(self, task: str) -> None:
        """One that was not at work is not wanted any more: nobody need wait for it."""
        if task in self._left:
            self._left[task] += 1


def load_standing(conn: Connection, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """By task: its instances that are to run, and those that do and are to go on."""
    if not names:
        return {}
    at_work = case(
        (and_(grants.c.state == "running", grants.c.want == "run"), 1),
        else_=0,
    )
    question = (
        select(instances.c.task, func.count(), func.sum(at_work))
        .select_from(
            instances.outerjoin(
                grants,
                and_(
                    grants.c.task == instances.c.task,
                    grants.c.instance == instances.c.instance,
                    grants.c.epoch == instances.c.epoch,
                ),
            )
        )
        .where(instances.c.task.in_(list(names)), instances.c.state.in_(("pending", "active")))
        .group_by(instances.c.task)
    )
    return {task: (count, int(up or 0)) for task, count, up in conn.execute(question)}
