"""The trace formats by name, and the one call that makes a file into something a fleet can run."""

from __future__ import annotations

from pathlib import Path

from dure.sources.equal import read_equal
from dure.sources.errors import BadSource
from dure.sources.fit import fitted
from dure.sources.fleet import TwinFleet
from dure.sources.openb import read_openb
from dure.sources.philly import read_philly
from dure.sources.trace import Trace

FORMATS = ("equal", "openb", "philly")


def read_trace(path: Path, trace_format: str, fleet: TwinFleet) -> Trace:
    """The jobs of a trace file, with gangs split for the fleet's largest node and GPU classes of the fleet.

    Raises `BadSource`: `BadTrace` for what is wrong in the file, `BadWorkload` when the fleet can never run it.
    """
    match trace_format:
        case "equal":
            trace = read_equal(path, fleet.most_gpus_per_node)
        case "openb":
            trace = read_openb(path)
        case "philly":
            trace = read_philly(path, fleet.most_gpus_per_node)
        case _:
            raise BadSource(f"{trace_format!r} is not a trace format; choose one of {', '.join(FORMATS)}")
    return fitted(trace, fleet)
