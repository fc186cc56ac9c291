"""The world: columns for the kernel, cards for people, and the one function that changes both."""

from __future__ import annotations

from dure.model.events import AnyEvent
from dure.model.nation import Nation
from dure.world.cards import JobCard, NodeCard, ShareCard


class World:
    """Everything decisions depend on, as of the last event applied.

    `apply` takes every event of a ledger in order. `dure.kernel.decide` changes the columns itself and returns the plan
    it has already put into effect; only when a ledger is replayed does `apply` see a `Planned` event.
    """

    nation: Nation
    jobs: dict[str, JobCard]
    """Every job that is not final, and the latest ten thousand final ones."""
    now_ms: int
    """Time of the last event or decision."""

    def __init__(self) -> None: ...

    def apply(self, event: AnyEvent) -> None:
        """Change the state as the event says."""
        raise NotImplementedError

    def shares(self) -> list[ShareCard]:
        """Every share and class, parents first, in the order of the nation's document."""
        raise NotImplementedError

    def nodes(self) -> list[NodeCard]:
        """Every node, in placement order."""
        raise NotImplementedError

    def queue(self) -> list[JobCard]:
        """Jobs that hold no GPUs but want some (held, queued, claimed), in the order in which they will be tried."""
        raise NotImplementedError

    def running(self) -> list[JobCard]:
        """Jobs that hold GPUs (starting, running, warned, stopping), oldest start first."""
        raise NotImplementedError

    def due_releases(self, now_ms: int) -> list[str]:
        """Held jobs whose dependencies all succeeded and whose backoff is over: each wants a `JobReleased`."""
        raise NotImplementedError

    def doomed(self) -> list[str]:
        """Held jobs of which a dependency failed or was cancelled: each wants a `CancelRequested`."""
        raise NotImplementedError

    def next_wake_ms(self) -> int | None:
        """The earliest time at which deciding again, or releasing a held job, could change something by itself."""
        raise NotImplementedError

    def share_of(self, project: str) -> str:
        """Name of the share the project's jobs run under; empty when it has none."""
        raise NotImplementedError

    def fork(self) -> World:
        """A copy that can be decided on and thrown away."""
        raise NotImplementedError
