"""What `dure twin` may be told to play: a trace or a generated workload, on a fleet, with or without failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dure.cli.errors import BadInput
from dure.cli.options import DURATION

if TYPE_CHECKING:
    from dure.twin.making import NodeFailures, TraceFile, Workload

FORMATS = ("equal", "openb", "philly")

_OPTIONS = (
    click.option(
        "--trace", metavar="FILE", help="Trace to play; without one, a plausible national workload is generated."
    ),
    click.option(
        "--format", "trace_format", type=click.Choice(FORMATS), help="How the trace is written.  [default: equal]"
    ),
    click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Jobs to generate.  [default: 20000]"),
    click.option("--span", type=DURATION, help="Time within which they are submitted.  [default: 7d]"),
    click.option(
        "--load",
        type=click.FloatRange(min=0, min_open=True),
        metavar="PART",
        help="What they want of the fleet in that time.  [default: 1]",
    ),
    click.option(
        "--parts",
        type=click.FloatRange(0, 1),
        metavar="PART",
        help="Of the jobs of one GPU, those that want less.  [default: 0]",
    ),
    click.option(
        "--organisations", type=click.IntRange(min=1), metavar="N", help="Below each of five owners.  [default: 8]"
    ),
    click.option(
        "--fleet", metavar="FLEET", default="72x8", show_default=True, help="NODESxGPUS, a node list or a nation file."
    ),
    click.option("--node-mtbf", type=DURATION, help="Mean time between failures of a node.  [default: none fails]"),
    click.option("--repair", type=DURATION, help="How long a failed node is down.  [default: 4h]"),
    click.option("--faults", metavar="FILE", help="Failures to play instead: node, down, up in seconds."),
)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What was asked for, as it was typed."""

    trace: str | None
    trace_format: str | None
    jobs: int | None
    span: int | None
    load: float | None
    parts: float | None
    organisations: int | None
    fleet: str
    node_mtbf: int | None
    repair: int | None
    faults: str | None

    def source(self) -> TraceFile | Workload:
        """What to play: the named file, or what is to be generated."""
        from dure.twin.making import TraceFile, Workload

        said = {
            "jobs": self.jobs,
            "span_ms": self.span,
            "load": self.load,
            "parts": self.parts,
            "organisations": self.organisations,
        }
        workload: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        if self.trace and workload:
            raise BadInput(
                f"--trace {self.trace}: nothing is generated; "
                "leave out --jobs, --span, --load, --parts and --organisations"
            )
        if self.trace:
            return TraceFile(path=find_trace(self.trace), layout=self.trace_format or "equal")
        if self.trace_format:
            raise BadInput(f"--format {self.trace_format}: says how a trace is written; name the trace with --trace")
        return Workload(**workload)

    def failures(self) -> NodeFailures:
        """Which nodes fail, if any."""
        from dure.twin.making import NodeFailures

        if self.faults and (self.node_mtbf is not None or self.repair is not None):
            raise BadInput(
                f"--faults {self.faults}: the file says when nodes fail and return; leave out --node-mtbf and --repair"
            )
        if self.repair is not None and self.node_mtbf is None:
            raise BadInput("--repair: says how long a failed node is down; say with --node-mtbf how often nodes fail")
        if 0 in (self.node_mtbf, self.repair):
            raise BadInput("--node-mtbf and --repair: must be longer than nothing")
        if self.faults:
            return NodeFailures(file=Path(self.faults))
        return NodeFailures(mtbf_ms=self.node_mtbf or 0, repair_ms=self.repair or NodeFailures().repair_ms)


def workload_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what runs where; the command gets them as `wishes`."""

    @wraps(command)
    def with_wishes(**said: Any) -> Any:
        wishes = Wishes(**{name: said.pop(name) for name in Wishes.__dataclass_fields__})
        return command(wishes=wishes, **said)

    for option in reversed(_OPTIONS):
        with_wishes = option(with_wishes)
    return with_wishes


def find_trace(name: str) -> Path:
    """A file by its name here, else in the folder of traces; the name itself when it is in neither."""
    from dure.sources.locate import trace_folder

    folder = None if Path(name).is_file() else trace_folder()
    return folder / name if folder and (folder / name).is_file() else Path(name)
