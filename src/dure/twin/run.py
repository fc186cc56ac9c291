"""Run a trace through the kernel and say what came of it."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from dure.audit import Books
from dure.kernel.policies import Lending
from dure.ledger.memory import MemoryLedger
from dure.model.events import FleetEvent, Planned, encode
from dure.model.nation import Nation
from dure.model.units import HOUR_MS, WHOLE_GPU_MILLI
from dure.reports.lending import LendingReport, lending_report
from dure.reports.lending_totals import LendingTotals
from dure.reports.viewer import EVERYTHING
from dure.sources.generator import generate
from dure.twin.diary import Diary
from dure.twin.events import DONE, NO_ROOM, Run, advance, with_more_room
from dure.twin.scene import Scene
from dure.world.columns import NONE, Columns, Records

EVENTS_BETWEEN_REPORTS = 250_000

Progress = Callable[[int, int], None]
"""Called with the jobs done and the jobs in all."""


class RunReport(Struct, frozen=True, kw_only=True):
    """What came of a run. Times are in seconds; waits are from submission to the first start.

    `gpu_hours` were given out. Of these, `useful_gpu_hours` counted (`goodput_pct` of them); the others were lost to
    reclaim and to failures of nodes, because they came after the last checkpoint, and to limits, by jobs that were
    stopped at theirs and so never finished. `interrupted` attempts ended because a node failed; the restart times are
    from then until the job ran again. At most `most_running` attempts ran at once.

    `jobs` counts every job of the trace; those in `refused` fit no node of the fleet, as intake would have said.
    `guarantee_demands` counts the jobs that their share's guarantee covered as they came (`dure.twin.demand`); a
    guarantee delay is the time to the first start of one. None where there was none.
    """

    trace: str
    fleet: str
    policy: str
    jobs: int
    refused: int
    finished: int
    """Jobs; an array is one."""
    copies_over: int
    """Tasks of arrays that finished, and replicas of services that were scaled down."""
    avg_jct_s: float
    avg_wait_s: float
    p99_wait_s: float
    makespan_s: float
    gpu_hours: float
    allocation_pct: float
    reclaimed: int
    resized: int
    """Attempts of elastic jobs that ended to go on with more nodes."""
    lost_gpu_hours: float
    useful_gpu_hours: float
    goodput_pct: float
    lost_to_reclaim_gpu_hours: float
    lost_to_failures_gpu_hours: float
    lost_to_limits_gpu_hours: float
    guarantee_demands: int
    avg_guarantee_delay_s: float | None
    p99_guarantee_delay_s: float | None
    max_guarantee_delay_s: float | None
    node_failures: int
    set_aside: int
    interrupted: int
    avg_restart_s: float
    longest_restart_s: float
    most_running: int
    events: int
    wall_s: float
    jobs_per_s: float
    peak_rss_mb: float
    seed: int
    tie_rule: str
    assumptions: str
    ledger_entries: int | None = None
    ledger_root: str | None = None
    audit_violations: int | None = None
    lending: LendingReport | None = None
    """Who lent whom how much, if it was asked for."""


def run_scene(
    scene: Scene,
    *,
    seed: int = 0,
    ledger_file: Path | None = None,
    audit: bool = False,
    lending: bool = False,
    progress: Progress | None = None,
) -> RunReport:
    """Run a scene to its end, or until `scene.until_ms`. Its ledger's entries go to `ledger_file`, one a line."""
    keep_log = audit or lending or ledger_file is not None
    atlas, columns, run = scene.begin(keep_log)
    record = _Record(ledger_file, audit, lending) if keep_log else None
    diary = Diary(scene, atlas)
    if record:
        record.take(iter((diary.opening(),)))
    started = time.perf_counter()
    while (result := advance(columns, run, scene.until_ms, EVENTS_BETWEEN_REPORTS)) != DONE:
        if result == NO_ROOM:
            columns, run = with_more_room(columns, run)
        if record:
            record.take(diary.write(run))
        if progress:
            progress(int(run.clock[0].finished), len(scene.declared.trace))
    wall_s = time.perf_counter() - started
    if record:
        record.take(diary.write(run))
        record.close()
    return _report(scene, columns, run, wall_s, seed, record)


def warm_up() -> None:
    """Compile the event loop, or load it from the cache."""
    from dure.sources.fleet import parse_fleet

    fleet = parse_fleet("1x1")
    trace = generate(0, 1, fleet, 0.5, HOUR_MS)
    for policy in ("fifo", "dure"):
        run_scene(Scene(trace=trace, fleet=fleet, shares=(), policy=policy))


class _Record:
    """Where a run's events go: a Merkle log in memory, a file, the audit's books, and the lender's ledger."""

    def __init__(self, path: Path | None, audit: bool, lending: bool) -> None:
        self.ledger = MemoryLedger()
        self.violations = 0
        self._books = Books() if audit else None
        self._lending = LendingTotals() if lending else None
        self._file = path.open("wb") if path else None

    def take(self, events: Iterator[FleetEvent]) -> None:
        entries = []
        for event in events:
            if self._books is not None:
                if isinstance(event, Planned):
                    self.violations += len(self._books.check(event.plan, event.at_ms))
                self._books.apply(event)
            if self._lending is not None:
                self._lending.apply(event)
            entries.append(encode(event))
        self.ledger.append(self.ledger.size, entries, (), 0)
        if self._file:
            self._file.writelines(entry + b"\n" for entry in entries)

    def close(self) -> None:
        if self._file:
            self._file.close()

    def lending(self, nation: Nation, end_ms: int) -> LendingReport | None:
        """Who lent whom how much over the whole run; None when nobody asked."""
        if self._lending is None:
            return None
        return lending_report(nation, self._lending.days(end_ms), 0, end_ms, end_ms, EVERYTHING)

    @property
    def audited(self) -> bool:
        return self._books is not None


def _report(scene: Scene, columns: Columns, run: Run, wall_s: float, seed: int, record: _Record | None) -> RunReport:
    trace = scene.declared.trace
    jobs = columns.jobs[: len(trace)]
    delay_s = _guarantee_delays_s(jobs, run)
    jct_s, wait_s = _seconds_until(jobs, "ended_ms"), _seconds_until(jobs, "first_started_ms")
    makespan_ms = int(jobs["ended_ms"].max(initial=0))
    clock = run.clock[0]
    allocated = int(clock.allocated_integral)
    lost = clock.lost_to_reclaim_integral + clock.lost_to_failures_integral + clock.lost_to_limits_integral
    capacity = scene.fleet.gpus * WHOLE_GPU_MILLI * makespan_ms
    return RunReport(
        trace=trace.name,
        fleet=scene.fleet.name,
        policy=scene.policy,
        jobs=len(trace) + trace.refused,
        refused=trace.refused,
        finished=int(clock.finished),
        copies_over=int(clock.copies_over),
        avg_jct_s=_rounded(np.mean(jct_s)) if len(jct_s) else 0.0,
        avg_wait_s=_rounded(np.mean(wait_s)) if len(wait_s) else 0.0,
        p99_wait_s=_rounded(np.percentile(wait_s, 99)) if len(wait_s) else 0.0,
        makespan_s=_rounded(makespan_ms / 1000),
        gpu_hours=_gpu_hours(allocated),
        allocation_pct=_rounded(100 * allocated / capacity) if capacity else 0.0,
        reclaimed=int(clock.reclaimed),
        resized=int(clock.resized),
        lost_gpu_hours=_gpu_hours(lost),
        useful_gpu_hours=_gpu_hours(clock.useful_integral),
        goodput_pct=_rounded(100 * int(clock.useful_integral) / allocated) if allocated else 0.0,
        lost_to_reclaim_gpu_hours=_gpu_hours(clock.lost_to_reclaim_integral),
        lost_to_failures_gpu_hours=_gpu_hours(clock.lost_to_failures_integral),
        lost_to_limits_gpu_hours=_gpu_hours(clock.lost_to_limits_integral),
        guarantee_demands=len(delay_s),
        avg_guarantee_delay_s=_rounded(np.mean(delay_s)) if len(delay_s) else None,
        p99_guarantee_delay_s=_rounded(np.percentile(delay_s, 99)) if len(delay_s) else None,
        max_guarantee_delay_s=_rounded(delay_s.max()) if len(delay_s) else None,
        node_failures=int(clock.node_failures),
        set_aside=int(clock.probations),
        interrupted=int(clock.interrupted),
        avg_restart_s=_rounded(clock.until_restart_ms / clock.restarted / 1000) if clock.restarted else 0.0,
        longest_restart_s=_rounded(clock.longest_until_restart_ms / 1000),
        most_running=int(clock.most_ends),
        events=int(clock.events),
        wall_s=round(wall_s, 4),
        jobs_per_s=round(len(trace) / wall_s, 1) if wall_s else 0.0,
        peak_rss_mb=round(_peak_rss_kib() / 1024, 1),
        seed=seed,
        tie_rule=scene.rules.tie_rule,
        assumptions=_assumptions(scene),
        ledger_entries=record.ledger.size if record else None,
        ledger_root=record.ledger.root().hex() if record else None,
        audit_violations=record.violations if record and record.audited else None,
        lending=record.lending(scene.nation(), int(run.clock[0].now_ms)) if record else None,
    )


def _seconds_until(jobs: Records, moment: str) -> NDArray[np.float64]:
    """From submission until that moment, of the jobs that came so far. A column at a time: rows are half a kilobyte."""
    reached = jobs[moment] != NONE
    return (jobs[moment][reached] - jobs["submitted_ms"][reached]) / 1000


def _gpu_hours(integral: int) -> float:
    return _rounded(int(integral) / (WHOLE_GPU_MILLI * HOUR_MS))


def _guarantee_delays_s(jobs: Records, run: Run) -> NDArray[np.float64]:
    """For each covered job the time to its first start, or to the end of the run when it never started."""
    covered = run.covered[: len(jobs)] == 1
    started_ms = jobs["first_started_ms"][covered]
    until_ms = np.where(started_ms == NONE, run.clock[0].now_ms, started_ms)
    delays: NDArray[np.float64] = (until_ms - jobs["submitted_ms"][covered]) / 1000
    return delays


def _peak_rss_kib() -> int:
    """The most memory that this process ever had.

    What `getrusage` says of a process includes the one it was started by, so Linux is asked in its own way.
    """
    try:
        status = Path("/proc/self/status").read_text("ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (line,) = [each for each in status.splitlines() if each.startswith("VmHWM:")]
    return int(line.split()[1])


def _rounded(value: Any) -> float:
    return round(float(value), 2)


def _assumptions(scene: Scene) -> str:
    said = [scene.declared.trace.origin, scene.faults.origin]
    if scene.rules.lending is Lending.NO_QUOTA:
        said.append("rigid jobs, no preemption, no quotas")
    else:
        said.append("guarantees in proportion to each share's GPU time where the trace has none")
        said.append(f"every job is preemptible and saves its work every {scene.checkpoint_every_ms // 60_000} min")
    if scene.rules.lending is Lending.NOTHING:
        said.append("nodes divided among the owners by guarantee")
    return "; ".join([*said, "time limits as in the trace"])
