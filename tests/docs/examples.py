"""The worked examples of `docs/concepts/sharing.md`, played through the kernel and told as on the page."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from dure.model.events import JobSubmitted
from dure.model.fleet import Timing
from dure.model.nation import Nation
from dure.model.organisations import Share
from dure.model.plan import Claim, Decision, Spare, Start, Stop, Warn
from tests.kernel.nations import MINUTE, job, nation, share
from tests.kernel.story import Story

TIMING = Timing(protected_ms=10 * MINUTE, warning_ms=MINUTE, grace_ms=30_000)


class Telling:
    """A story, and the rows that tell it: time, what happens, and what some shares use of their guarantee."""

    def __init__(self, shares: list[Share], told: tuple[str, ...] = ("owner", "startup")) -> None:
        self.story = Story(declared(shares))
        self._told = told
        self._rows = [("time", "what happens", *told)]

    def submit(self, submitted: JobSubmitted) -> None:
        """A job comes, and the kernel decides."""
        plans = len(self.story.plans)
        self.story.submit(submitted)
        decisions = [each for plan in self.story.plans[plans:] for each in plan.decisions]
        gpus = submitted.gpus[0][1] // 1000
        asked = f"{submitted.nodes} x {gpus}" if submitted.nodes > 1 else str(gpus)
        outcome = said(decisions) if decisions else "it waits"
        self._add(self.story.now_ms, f"{submitted.job}: {asked} GPUs, {submitted.time_ms // MINUTE} min; {outcome}")

    def wait_until(self, minute: float) -> None:
        """Time passes; what the kernel decides meanwhile is told."""
        plans = len(self.story.plans)
        self.story.pass_time(round(minute * MINUTE) - self.story.now_ms)
        for at_ms, made in groupby(self.story.plans[plans:], key=lambda plan: plan.at_ms):
            if decisions := [each for plan in made for each in plan.decisions]:
                self._add(at_ms, said(decisions))

    def why(self, name: str) -> None:
        """What keeps a job from starting."""
        codes = ", ".join(each.code.value for each in self.story.why(name).blockers)
        self._add(self.story.now_ms, f"{name} waits: {codes}")

    def lines(self) -> list[str]:
        """The rows as aligned text."""
        widths = [max(map(len, column)) for column in zip(*self._rows, strict=True)]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in self._rows
        ]

    def _add(self, at_ms: int, what: str) -> None:
        time = f"{at_ms // MINUTE}:{at_ms % MINUTE // 1000:02}"
        self._rows.append((time, what, *(self._used(name) for name in self._told)))

    def _used(self, name: str) -> str:
        card = next(each for each in self.story.world.shares() if each.name == name)
        text = f"{card.used_milli // 1000} of {card.guarantee_milli // 1000}"
        return f"{text}, lends {card.lent_milli // 1000}" if card.lent_milli else text


def declared(shares: list[Share]) -> Nation:
    """One site of four nodes with eight GPUs each."""
    return nation(shares, nodes=4, gpus=8, timing=TIMING)


def said(decisions: list[Decision]) -> str:
    """Decisions in words."""
    return ", ".join(_said(each) for each in decisions)


def _said(decision: Decision) -> str:
    match decision:
        case Start():
            return f"{decision.job} starts" + (", borrowed" if decision.borrowed else "")
        case Claim():
            return f"{decision.job} claims"
        case Warn():
            return f"{decision.job} is warned"
        case Spare():
            return f"{decision.job} is spared"
        case Stop():
            return f"{decision.job} is stopped ({decision.reason.value})"


def work(name: str, owner: str, gpus: int, minutes: int, nodes: int = 1) -> JobSubmitted:
    return job(name, owner, gpus, nodes=nodes, time_ms=minutes * MINUTE, sites=("site0",))


def borrow() -> list[str]:
    telling = Telling([share("owner", guarantee=24, lend=16), share("startup", guarantee=8)])
    for number in range(1, 5):
        telling.submit(work(f"s{number}", "startup", 8, 120))
    telling.why("s4")
    return telling.lines()


def tree() -> list[str]:
    shares = [
        share("owner", guarantee=24),
        share("lab", "owner", guarantee=16),
        share("guest", "owner", guarantee=8),
        share("startup", guarantee=8),
    ]
    telling = Telling(shares, ("owner", "lab", "guest", "startup"))
    telling.submit(work("s1", "startup", 8, 120))
    telling.submit(work("s2", "startup", 8, 120))
    telling.submit(work("g1", "guest", 8, 120))
    telling.submit(work("g2", "guest", 8, 120))
    telling.submit(work("g3", "guest", 8, 120))
    telling.wait_until(12)
    return telling.lines()


def reclaim() -> list[str]:
    telling = Telling([share("owner", guarantee=24), share("startup", guarantee=8)])
    for number in range(1, 5):
        telling.wait_until(3 * (number - 1))
        telling.submit(work(f"s{number}", "startup", 8, 120))
    telling.wait_until(16)
    telling.submit(work("o1", "owner", 8, 60, nodes=2))
    telling.wait_until(18)
    telling.why("s2")
    return telling.lines()


def backfill() -> list[str]:
    telling = Telling([share("owner", guarantee=24), share("startup", guarantee=8)])
    telling.submit(work("o1", "owner", 8, 60, nodes=2))
    telling.submit(work("s1", "startup", 8, 30))
    telling.submit(work("s2", "startup", 8, 60, nodes=2))
    telling.submit(work("s3", "startup", 8, 45))
    telling.why("s3")
    telling.submit(work("s4", "startup", 8, 20))
    telling.wait_until(30)
    return telling.lines()


EXAMPLES: dict[str, Callable[[], list[str]]] = {
    "tree": tree,
    "borrow": borrow,
    "reclaim": reclaim,
    "backfill": backfill,
}
