"""Templates: Jinja in its sandbox over node, group, labels and facts; output and effort bounded.

Jinja is imported when the first template is rendered, not before: most agents never need it.
"""

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from farshore_edge.config.model import Site
from farshore_edge.errors import ConfigurationError

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import SandboxedEnvironment

MAX_OUTPUT_CHARS = 1024 * 1024
MAX_POWER = 10_000
COMPILED = 64
_PADDING = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map"})
"""Methods that make a long text of a short one: no template of a file needs them."""


def render(template: str, site: Site, path: str) -> bytes:
    """Raises ConfigurationError ``bad_template`` with the line, or ``too_large``."""
    from jinja2 import TemplateError

    names = {"node": site.node, "group": site.group, "labels": dict(site.labels)}
    if "facts" in template:
        names["facts"] = site.facts()
    parts: list[str] = []
    size = 0
    try:
        for part in _compiled(template).generate(names):
            size += len(part)
            if size > MAX_OUTPUT_CHARS:
                break
            parts.append(part)
    except TemplateError as exc:
        line = getattr(exc, "lineno", None)
        where = "" if line is None else f"line {line}: "
        raise ConfigurationError("bad_template", f"{where}{exc.message or exc}", path) from exc
    except Exception as exc:  # a template calls what it likes with what it likes
        raise ConfigurationError("bad_template", f"{type(exc).__name__}: {exc}", path) from exc
    if size > MAX_OUTPUT_CHARS:
        message = f"the template writes more than {MAX_OUTPUT_CHARS} characters"
        raise ConfigurationError("too_large", message, path)
    return "".join(parts).encode()


@lru_cache(maxsize=COMPILED)
def _compiled(template: str) -> "Template":
    """Compiling costs most, and the watch renders the same ones again and again."""
    return _environment().from_string(template)


@cache
def _environment() -> "SandboxedEnvironment":
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import SandboxedEnvironment

    class Bounded(SandboxedEnvironment):
        """The sandbox, without ways to make much out of little."""

        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "%" and isinstance(left, str):
                raise SecurityError("expected a filter in place of the operator % on a text")
            if operator == "**" and (abs(left) > MAX_POWER or abs(right) > 64):
                raise SecurityError("the power is too large")
            if operator == "*":
                self._check_product(left, right)
            return super().call_binop(context, operator, left, right)

        def _check_product(self, left: Any, right: Any) -> None:
            for many, times in ((left, right), (right, left)):
                long = isinstance(many, str | list | tuple) and isinstance(times, int)
                if long and len(many) * times > MAX_OUTPUT_CHARS:
                    raise SecurityError("the product is too large")

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            if isinstance(obj, str) and attr in _PADDING:
                return False
            return super().is_safe_attribute(obj, attr, value)

    environment = Bounded(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    for name in ("center", "format", "indent", "wordwrap", "pprint", "xmlattr"):
        environment.filters.pop(name)
    return environment
