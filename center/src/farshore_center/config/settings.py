"""Settings of the configuration room."""

from dataclasses import dataclass

from farshore_center.sending import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSettings:
    """``gather_s``: how long changes of the fleet are gathered before they are looked at together.

    ``resend_after_s`` doubles with every sending that is not answered, up to ``resend_most_s``.
    ``retry_s`` doubles with every failure to compute configurations, up to ``retry_most_s``.
    ``send_timeout_s``: how long the downlink may take for one message before it counts as stuck.
    """

    gather_s: float = 0.05
    resend_after_s: float = 30.0
    resend_most_s: float = 600.0
    send_timeout_s: float = 10.0
    retry_s: float = 1.0
    retry_most_s: float = 60.0

    @property
    def pace(self) -> Pace:
        return Pace(after_s=self.resend_after_s, most_s=self.resend_most_s)
