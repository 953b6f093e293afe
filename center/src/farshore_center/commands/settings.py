"""Settings of the commands room."""

from dataclasses import dataclass

from farshore_center.sending import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSettings:
    """`resend_after_s` doubles with every sending, up to `resend_most_s`.

    `send_timeout_s`: how long the downlink may take for one message before it counts as stuck.
    `secret_kept_s`: how long who gave a secret command has, after its end, to read what came of it;
    `secret_look_s`: how often those that are over are looked for, while there are any.
    `ask_after_s` after its birth a node is asked for what it has taken and not ended, and every
    `ask_again_s` after that. `vanished_after_s`: how long an offline node may be silent about what it
    has taken; `vanished_look_s`: how often that is looked at.
    """

    resend_after_s: float = 10.0
    resend_most_s: float = 60.0
    send_timeout_s: float = 10.0
    secret_kept_s: float = 600.0
    secret_look_s: float = 30.0
    ask_after_s: float = 10.0
    ask_again_s: float = 600.0
    vanished_after_s: float = 86_400.0
    vanished_look_s: float = 600.0

    @property
    def pace(self) -> Pace:
        return Pace(after_s=self.resend_after_s, most_s=self.resend_most_s)
