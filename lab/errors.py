"""The exception tree.

LabError
├── ScenarioError   the user's: a scenario, a target folder or an option is wrong (exit 2)
├── RunFailed       the lab itself failed while a run went on; it is healed, journalled and judged (exit 12)
├── WorldError      the machine's: no engine, no image, no room, a port taken (exit 12)
└── FaultError      a fault could not be prepared, injected or healed
    ├── GoneError   what a fault acted on is no longer there
    └── FencedError the guardian has taken over: this run must not act any more

A misbehaving *target* is an observation and never appears here.
"""


class LabError(Exception):
    """Something that the lab cannot do. The message tells the reader what to try next."""

    def __init__(self, what: str, *, where: str = "", last_state: str = "", try_: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.last_state = last_state
        self.try_ = try_

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"where: {self.where}")
        if self.last_state:
            parts.append(f"last seen: {self.last_state}")
        if self.try_:
            parts.append(f"try: {self.try_}")
        return "\n  ".join(parts)


class ScenarioError(LabError):
    """A scenario, a target folder or an option says something that the lab does not accept."""


class RunFailed(LabError):
    """The lab itself failed while a run went on; what was in force is healed, and the journal says what happened."""


class WorldError(LabError):
    """The machine lacks or refuses something that the lab needs."""


class FaultError(LabError):
    """A fault could not be prepared, injected, observed or healed."""


class GoneError(FaultError):
    """The container that a fault acted on was removed or replaced, and the fault's effect with it."""


class FencedError(FaultError):
    """The guardian found that this run is dead or hangs, and has taken over; nothing may be injected any more."""
