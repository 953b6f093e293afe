"""Takes what looks like a secret out of a document, before others see it. Pure.

By the names of fields, and by the shape of texts: addresses with a password, ``password=…``, tokens in
HTTP headers, private keys. It leaves out too much rather than too little.
"""

import re
from typing import Any

REDACTED = "(redacted)"

_WORDS = (
    "password|passwd|passphrase|pass|pwd|secret|token|credentials?|authorization|cookie|bearer|"
    "apikey|api[_-]?key|access[_-]?key|private[_-]?key|signing[_-]?key|psk|otp"
)
_FIELD = re.compile(rf"(?:\A|[_.\-\s])(?:{_WORDS})s?(?:\Z|[_.\-\s])", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TEXTS = (
    # A private key, also one whose end was cut off.
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
    ),
    re.compile(r"(?<=://)[^/\s@]*:[^/\s@]*(?=@)"),
    re.compile(r"(?i)(?<=\bbearer )[^\s\"',;]+"),
    re.compile(r"(?i)(?<=\bbasic )[A-Za-z0-9+/=]{8,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
)
_PAIR = re.compile(
    rf"(?i)((?:\b|[_\-])(?:{_WORDS})s?\b[\"']?\s*(?:=>|[=:])\s*)"
    r"(?![=>\s]|\(redacted\))(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s,;&\"'}\]]+)"
)
_OPTION = re.compile(rf"(?i)(--?(?:[a-z0-9]+-)*(?:{_WORDS})s?\s+)(?!\(redacted\))([^\s-][^\s]*)")


class Redactor:
    """``count``: how much was taken out so far."""

    def __init__(self) -> None:
        self.count = 0

    def document(self, value: Any) -> Any:
        """The same without secrets; keys stay."""
        match value:
            case dict():
                return {key: self._field(str(key), each) for key, each in value.items()}
            case list() | tuple():
                return [self.document(each) for each in value]
            case str():
                return self.text(value)
        return value

    def text(self, text: str) -> str:
        for pattern in _TEXTS:
            text, found = pattern.subn(REDACTED, text)
            self.count += found
        for pattern in (_PAIR, _OPTION):
            text, found = pattern.subn(rf"\g<1>{REDACTED}", text)
            self.count += found
        return text

    def _field(self, key: str, value: Any) -> Any:
        if value in (None, "", REDACTED) or isinstance(value, bool):
            return value
        if is_secret(key):
            self.count += 1
            return REDACTED
        return self.document(value)


def is_secret(key: str) -> bool:
    """Whether a field of this name is likely to hold a secret."""
    return _FIELD.search(_CAMEL.sub("_", key)) is not None
