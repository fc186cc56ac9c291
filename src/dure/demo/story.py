"""What is going on: the jobs of the story, watched through the API, and what must be true of them."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from dure.demo.member import JobDocument, Member
from dure.demo.platform import Server
from dure.demo.telling import Teller
from dure.model.jobs import JobState
from dure.model.nation import Nation
from dure.reports.jobs import JobReport, TimelineLine
from dure.reports.wording import short_reason, unblock

PATIENCE_S = 120.0
"""How long the story waits for anything, on a machine that may be busy with other things."""
LOOK_S = 0.1
ENDS, BEGINS, FOLLOWS = range(3)
"""In one decision, GPUs become free, then jobs take them or lay claim to them, then borrowers are warned."""


class Unexpected(Exception):
    """The story does not go as it is told: what was looked at, what was expected, and what happened."""

    def __init__(self, what: str, expected: str, happened: str) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.happened = happened


class Proof(Struct, frozen=True):
    """What a chapter has shown, and what was measured in it."""

    shown: str
    measured: str


class Output(Struct, frozen=True):
    """One line that a rank of an attempt wrote."""

    attempt: int
    rank: int
    text: str


class News(Struct, frozen=True):
    """Something to tell about a job. Of what happens in one millisecond, the lower `order` came first."""

    at_ms: int
    order: int
    job: WatchedJob
    text: str


class WatchedJob:
    """A job of a member, and all that has been seen of it."""

    def __init__(self, member: Member, report: JobReport) -> None:
        self.member = member
        self.report = report
        self._told = 0
        """Moments of its life that were told."""
        self.lines: list[Output] = []
        self.is_over = False
        self._offsets: dict[tuple[int, int], int] = {}
        self._begun: dict[tuple[int, int], str] = {}

    @property
    def id(self) -> str:
        """Its name at the platform."""
        return self.report.line.job

    @property
    def state(self) -> JobState:
        """Where it was when it was looked at last."""
        return self.report.line.state

    def look(self) -> list[News]:
        """What is new, in its order: moments of the job's life, and lines of its output."""
        self.report = self.member.job(self.id)
        # A job that was over before its output was read has no more to say.
        self.is_over = self.state.is_final
        moments = self.report.timeline[self._told :]
        self._told += len(moments)
        end = next((index for index, moment in enumerate(moments) if _ends_attempt(moment)), len(moments))
        lines_at_ms = moments[end].at_ms if end < len(moments) else time.time_ns() // 1_000_000
        return [
            *(self._moment_news(moment) for moment in moments[:end]),
            *(News(lines_at_ms, ENDS, self, self._as_told(line)) for line in self._new_lines()),
            *(self._moment_news(moment) for moment in moments[end:]),
        ]

    def entered(self, state: JobState, attempt: int = 1) -> int | None:
        """When it came into a state for the `attempt`th time (milliseconds since the epoch)."""
        times = [moment.at_ms for moment in self.report.timeline if moment.state is state]
        return times[attempt - 1] if len(times) >= attempt else None

    def _new_lines(self) -> list[Output]:
        found = []
        for attempt in range(1, (self.report.line.attempt or 0) + 1):
            for rank in range(self.report.line.nodes):
                place = attempt, rank
                text, self._offsets[place] = self.member.output(self.id, *place, self._offsets.get(place, 0))
                *whole, self._begun[place] = (self._begun.get(place, "") + text).split("\n")
                found += [Output(attempt, rank, line) for line in whole]
        self.lines += found
        return found

    def _moment_news(self, moment: TimelineLine) -> News:
        note = f", {moment.note}" if moment.note and moment.note != moment.state else ""
        order = ENDS if _ends_attempt(moment) else FOLLOWS if moment.state is JobState.WARNED else BEGINS
        return News(moment.at_ms, order, self, f"[{moment.state}]{note}")

    def _as_told(self, line: Output) -> str:
        return line.text if self.report.line.nodes == 1 or "rank" in line.text else f"rank {line.rank}: {line.text}"


def _ends_attempt(moment: TimelineLine) -> bool:
    return moment.state.is_final or (moment.state.is_waiting and moment.attempt > 0)


class Story:
    """The stage: who takes part, what they run, and the teller who says so."""

    def __init__(
        self, server: Server, operator: Member, teller: Teller, nation: Nation, seconds_per_step: float
    ) -> None:
        self.server = server
        self.operator = operator
        self.teller = teller
        self.nation = nation
        self.auditor = operator.invite("auditor", title="Auditor")
        self.members = {each.name: operator.invite("member", each.name, each.title_en) for each in nation.organisations}
        self.first_checkpoint = self.auditor.checkpoint().note
        """What the auditor kept before anything happened: the ledger must still contain it at the end."""
        self._seconds_per_step = seconds_per_step
        self.jobs: list[WatchedJob] = []
        self.refusals = 0
        """Requests that a rule refused, as told so far."""
        self._began_ms = time.time_ns() // 1_000_000

    def steps_for(self, seconds: float) -> int:
        """How many training steps take about so long on this machine, or longer while it is busy."""
        return max(50, round(seconds / self._seconds_per_step))

    def submit(self, organisation: str, document: JobDocument) -> WatchedJob:
        """Submit a job as a member, and watch it from now on."""
        member = self.members[organisation]
        watched = WatchedJob(member, member.job(member.submit(document)))
        self.jobs.append(watched)
        self.look()
        return watched

    def until(self, what: str, is_so: Callable[[], bool], about: WatchedJob) -> None:
        """Watch until something is so. Raises `Unexpected` when it takes too long, or the job is over without it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            was_over = about.is_over
            self.look()
            if is_so():
                return
            if was_over or time.monotonic() >= deadline:
                raise Unexpected(f"waiting until {what}", what, self._standing(about))
            time.sleep(LOOK_S)

    def expect(self, what: str, expected: object, happened: object) -> None:
        """Say that something is so. Raises `Unexpected` when it is not."""
        self.require(what, happened == expected, str(expected), str(happened))

    def require(self, what: str, holds: bool, expected: str, happened: str) -> None:
        """Say that something holds. Raises `Unexpected` when it does not."""
        if not holds:
            raise Unexpected(what, expected, happened)
        self.teller.fact(what)

    def look(self) -> None:
        """Look at every job that is not over, tell what is new, and draw the fleet."""
        news = [each for watched in self.jobs if not watched.is_over for each in watched.look()]
        for each in sorted(news, key=lambda each: (each.at_ms, each.order)):
            member, name = each.job.member, each.job.report.line.name or ""
            at_s = max(0, each.at_ms - self._began_ms) / 1000
            self.teller.happening(at_s, member.name, member.title, name, each.text)
        self.teller.picture(self.nation, self.operator.queue())

    def tell_why(self, watched: WatchedJob) -> None:
        """Say why a job waits, as `dure why` would."""
        why = watched.member.why(watched.id)
        self.teller.say(f"  $ dure why {watched.id}")
        for number, blocker in enumerate(why.blockers, 1):
            self.teller.quote(f"{number}. {blocker.code}: {short_reason(blocker)}\n   {unblock(blocker)}")

    def _standing(self, watched: WatchedJob) -> str:
        """Where a job is, for whoever expected something else."""
        line = watched.report.line
        ending = f", exit code {line.exit_code}" if line.exit_code is not None else ""
        reason = f" ({line.reason})" if line.reason else ""
        last = f'; last line of output: "{watched.lines[-1].text}"' if watched.lines else ""
        return f"{watched.id} is {line.state}{reason}{ending}{last}"
