"""From the text of a selector to nodes, with the saved selectors that it uses."""

import difflib
from collections.abc import Callable, Iterable

from farshore_center.api.problems import FieldError, Problem
from farshore_center.db.database import Database
from farshore_center.nodes.registry import Registry
from farshore_center.selectors import Selector, SelectorError, expand, find, parse

GetText = Callable[[str], str | None]


class Selection:
    """``saved`` gives the selector of an overlay; ``names`` are the overlays that there are."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        *,
        saved: GetText,
        names: Callable[[], Iterable[str]],
    ) -> None:
        self._database = database
        self._registry = registry
        self._saved = saved
        self._names = names

    def read(self, text: str) -> Selector:
        """The tree without overlays; SelectorError says where ``text`` is wrong."""

        def saved(name: str) -> Selector:
            found = self._saved(name)
            if found is None:
                raise SelectorError(
                    f"there is no overlay {name[:64]!a}",
                    at=max(0, text.find(f"overlay:{name}")),
                    expected="a saved selector, see GET /api/v1/overlays",
                    near=tuple(difflib.get_close_matches(name, self._names(), n=2)),
                )
            return parse(found)

        try:
            return expand(parse(text), saved)
        except SelectorError as exc:
            exc.text = text
            raise

    async def members(self, text: str) -> frozenset[str]:
        """The nodes that are meant now, among those that are known."""
        selector = self.read(text)
        names = await self._database.read(lambda connection: find(connection, selector))
        return frozenset(name for name in names if self._registry.get(name) is not None)

    async def chosen(self, text: str, field: str = "selector") -> frozenset[str]:
        """The same for a request: a bad selector is a Problem."""
        try:
            return await self.members(text)
        except SelectorError as exc:
            raise selector_problem(exc, field) from exc


def selector_problem(exc: SelectorError, field: str = "selector") -> Problem:
    """With the place, for people (``detail``) and for programs (``selector``)."""
    return Problem(
        status=422,
        title="The selector can't be read",
        detail=str(exc),
        errors=[FieldError(field=field, detail=str(exc), expected=exc.expected)],
        extra={
            "selector": {
                "text": exc.text,
                "column": exc.column,
                "detail": exc.detail,
                "expected": exc.expected,
                "near": list(exc.near),
            }
        },
    )
