"""How the story is told: lines that stay, and on a terminal a picture of the fleet below them that moves.

Into a file or a pipe only the lines are written, without colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from msgspec import Struct
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from dure.model.nation import Nation
from dure.model.units import WHOLE_GPU_MILLI
from dure.reports.jobs import JobLine, QueueReport

COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red", "bright_cyan", "bright_magenta", "bright_yellow")
HELD, IDLE = "■", "□"
LEVELS = "▁▂▃▄▅▆▇█"
PIPE_WIDTH = 120
FRAMES_PER_S = 8
QUOTE_INDENT = 6

PASSED, FAILED, NOT_PLAYED = "passed", "failed", "not played"
_STYLES = {PASSED: "green", FAILED: "bold red", NOT_PLAYED: "dim"}


class Chapter(Struct, frozen=True):
    """A line of the summary: what a chapter showed, and what was measured in it."""

    title: str
    outcome: str
    shown: str
    measured: str


class Teller:
    """Writes the story."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, emoji=False)
        if not self.console.is_terminal:
            self.console.width = PIPE_WIDTH
        self._live: Live | None = None
        self._colours: dict[str, str] = {}

    def heading(self, text: str) -> None:
        """Begin a chapter."""
        self.console.print()
        self.console.print(Rule(Text(f" {text} ", style="bold"), align="left", characters="─"))

    def say(self, text: str) -> None:
        """A sentence of the story."""
        self.console.print(Text(text))

    def copyable(self, what: str, text: str) -> None:
        """Something to be copied: on a line of its own that is never broken."""
        self.say(what)
        self.console.print(Text(f"  {text}"), soft_wrap=True)

    def quote(self, text: str) -> None:
        """What the platform says."""
        self.console.print(Padding(Text(text), (0, 0, 0, QUOTE_INDENT), expand=False))

    def fact(self, text: str) -> None:
        """Something that was checked and is so."""
        self.console.print(Text("  ✓ ", style="bold green") + Text(text))

    def wrong(self, what: str, expected: str, happened: str) -> None:
        """Something that is not as it should be."""
        self.console.print(Text(f"  ✗ {what}", style="bold red"))
        self.console.print(Text(f"      expected  {expected}"))
        self.console.print(Text(f"      happened  {happened}"))

    def happening(self, at_s: float, organisation: str, title: str, job: str, text: str) -> None:
        """Something that a job did or wrote, `at_s` seconds into the story."""
        line = Text()
        line.append(f"  {at_s:5.1f} s  ", style="dim")
        line.append(f"{title:<13} ", style=self._colours.get(organisation, ""))
        line.append(f"{job:<14} {text}")
        self.console.print(line)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that something takes its time."""
        if self.console.is_terminal:
            with self.console.status(text):
                yield
        else:
            self.say(text)
            yield

    @contextmanager
    def picturing(self, nation: Nation) -> Iterator[None]:
        """Keep a picture of the fleet below the story, on a terminal."""
        organisations = [each.name for each in nation.organisations]
        self._colours = dict(zip(organisations, COLOURS, strict=False))
        if not self.console.is_terminal:
            yield
            return
        live = Live(console=self.console, refresh_per_second=FRAMES_PER_S, transient=True)
        with live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def picture(self, nation: Nation, queue: QueueReport) -> None:
        """Draw the fleet as it is."""
        if self._live is not None:
            self._live.update(Group(Text(), self._fleet(nation, queue), self._jobs(nation, queue)))

    def summary(self, chapters: Sequence[Chapter], seconds: float) -> None:
        """Everything in one table."""
        table = Table(header_style="bold")
        for heading in ("Chapter", "", "Shown", "Measured"):
            table.add_column(heading)
        for number, chapter in enumerate(chapters, 1):
            table.add_row(
                Text(f"{number}. {chapter.title}"),
                Text(chapter.outcome, style=_STYLES[chapter.outcome]),
                Text(chapter.shown),
                Text(chapter.measured),
            )
        self.heading(f"The story took {seconds:.0f} s")
        self.console.print(table)

    def _fleet(self, nation: Nation, queue: QueueReport) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for site in nation.sites:
            squares = Text()
            for line in queue.running:
                if line.site == site.name:
                    gpus = -(-line.gpus_milli // WHOLE_GPU_MILLI)
                    squares.append(HELD * gpus, style=self._colours.get(line.organisation or "", ""))
            capacity = sum(group.count * group.gpus for group in site.nodes)
            squares.append(IDLE * max(0, capacity - len(squares)), style="dim")
            classes = ", ".join(dict.fromkeys(group.gpu_class for group in site.nodes))
            table.add_row(Text(site.title_en), squares, Text(classes, style="dim"))
        return table

    def _jobs(self, nation: Nation, queue: QueueReport) -> RenderableType:
        titles = {each.name: each.title_en for each in nation.organisations}
        table = Table(box=None, padding=(0, 2, 0, 0))
        for line in (*queue.running, *queue.waiting):
            colour = self._colours.get(line.organisation or "", "")
            owner = Text(titles.get(line.organisation or "", ""), style=colour)
            table.add_row(owner, Text(line.name or ""), Text(line.gpus), Text(_standing(line), style="dim"))
        return table


def _standing(line: JobLine) -> str:
    if line.reason:
        return f"{line.state}: {line.reason}"
    return f"{line.state}, borrowed" if line.borrowed else line.state


def curve(values: Sequence[float]) -> str:
    """Numbers as a row of blocks, the largest highest."""
    low, high = min(values), max(values)
    steps = len(LEVELS) - 1
    return "".join(LEVELS[round((value - low) / (high - low) * steps) if high > low else 0] for value in values)
