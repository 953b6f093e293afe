"""Where simulated nodes stand: a literal tree of groups, and the labels that go with it. Pure."""

GROUPS: tuple[str, ...] = (
    "eu/hamburg/line1",
    "eu/hamburg/line2",
    "eu/lyon",
    "us/austin/line1",
    "us/austin/warehouse",
    "apac/osaka",
)

ENVIRONMENTS: tuple[str, ...] = ("prod", "prod", "prod", "staging")


def place(index: int) -> str:
    """The group of node number ``index``."""
    return GROUPS[index % len(GROUPS)]


def labels(index: int) -> dict[str, str]:
    """Its labels; environments do not fall together with groups."""
    return {"env": ENVIRONMENTS[index // len(GROUPS) % len(ENVIRONMENTS)], "simulated": "yes"}
