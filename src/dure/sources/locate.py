"""Where the trace files are. No trace is part of the project; a folder of them can be named."""

from __future__ import annotations

import os
from pathlib import Path

from dure.sources.errors import BadSource

VARIABLE = "DURE_TRACES"

TRACE_FILES = {
    "equal": Path("equal_workload/w1_philly20k.csv.gz"),
    "philly": Path("philly/philly_pollux_sia.csv.gz"),
    "openb": Path("alibaba_gpu_v2023/openb_pod_list_default.csv.gz"),
    "openb-nodes": Path("alibaba_gpu_v2023/openb_node_list_gpu_node.csv"),
}
"""Where each format's best-known file lies inside the folder."""

_CHECKOUT = Path(__file__).resolve().parents[3]


def trace_folder() -> Path | None:
    """The folder `DURE_TRACES` names, or `../shared/traces` beside the checkout if it exists, or None.

    Raises `BadSource` when `DURE_TRACES` names something that is not a folder.
    """
    if named := os.environ.get(VARIABLE):
        folder = Path(named)
        if not folder.is_dir():
            raise BadSource(f"{VARIABLE} names {named}, which is not a folder; correct it, or unset it")
        return folder
    beside = _CHECKOUT.parent / "shared" / "traces"
    return beside if beside.is_dir() else None


def trace_file(name: str) -> Path | None:
    """One of `TRACE_FILES` inside the folder, or None when it is not there."""
    folder = trace_folder()
    path = folder / TRACE_FILES[name] if folder else None
    return path if path and path.is_file() else None
