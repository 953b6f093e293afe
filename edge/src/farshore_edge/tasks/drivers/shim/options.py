"""The words of the shim's command line."""


class Options:
    """What stands before ``--``; those of ``several`` may come more than once."""

    def __init__(self, words: list[str]) -> None:
        self.plain: dict[str, str] = {}
        self.several: dict[str, list[str]] = {
            "procs": [],
            "kill": [],
            "rlimit": [],
            "cpu": [],
        }
        for word in words:
            name, _, value = word.partition("=")
            if name in self.several:
                self.several[name].append(value)
            else:
                self.plain[name] = value

    def number(self, name: str, default: int) -> int:
        return int(self.plain.get(name, default))
