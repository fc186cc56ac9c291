"""The machine that a server runs on: its limits, its clock, and the programs that Dure uses."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import sys
from collections.abc import Iterator

from dure.doctor.findings import Finding, failure, warning, well

FEWEST_FILES = 4_096
"""Open files: a connection each for members and their followed logs, and a handful for each job."""
_TIME_ERROR = 5
"""What `adjtimex` answers while nothing keeps the clock right (see `adjtimex(2)`)."""
_TIMEX_BYTES = 256


def examine_machine() -> Iterator[Finding]:
    """Everything about the machine itself."""
    yield _system()
    yield _open_files()
    yield _clock()
    yield _sandbox()


def _system() -> Finding:
    if sys.platform != "linux" or not os.path.exists("/proc/self/stat"):
        advice = "run the server on Linux; the command line works anywhere"
        return failure("system", f"this is {sys.platform} without /proc: local jobs cannot be run", advice)
    return well("system", f"Linux, Python {sys.version.split()[0]}, {os.cpu_count()} CPUs")


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FEWEST_FILES:
        advice = f"raise it: `ulimit -n {FEWEST_FILES}`, or LimitNOFILE={FEWEST_FILES} in the service's unit"
        return warning("open-files", f"a process may open {soft} files (at most {hard})", advice)
    return well("open-files", f"a process may open {soft} files")


def _clock() -> Finding:
    # Only the state is wanted: with no mode set, nothing is changed and no privilege is needed.
    answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if answer == _TIME_ERROR:
        advice = "have chrony or systemd-timesyncd keep it; times of tokens and of the ledger go by it"
        return warning("clock", "nothing keeps the machine's clock right", advice)
    if answer < 0:
        advice = "see to it that the host's clock is kept right"
        return warning("clock", "whether the clock is kept right cannot be told here", advice)
    return well("clock", "the clock is kept right")


def _sandbox() -> Finding:
    found = shutil.which("bwrap")
    if found is None:
        advice = "install bubblewrap (Debian: `apt-get install bubblewrap`)"
        return warning("sandbox", "there is no bwrap: jobs on restricted data are refused at local sites", advice)
    return well("sandbox", f"bubblewrap is at {found}")
