"""The state folder: its disk, who may read it, and the ledger in it."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from dure.bootstrap import LEDGER_KEY_FILE, OPERATOR_FILE, SECRETS_KEY_FILE
from dure.doctor.findings import Finding, failure, warning, well
from dure.ledger.contract import LedgerError
from dure.ledger.keys import KeyFileError, next_path
from dure.ledger.location import Location, locate, read_stored

LEAST_FREE_BYTES = 1 << 30
LEAST_FREE_PART = 0.1
_PRIVATE_FILES = (LEDGER_KEY_FILE, next_path(Path(LEDGER_KEY_FILE)).name, SECRETS_KEY_FILE, OPERATOR_FILE)
_REMOTE = ("nfs", "cifs", "smb", "fuse.sshfs", "9p", "lustre", "ceph", "glusterfs")


def examine_state(state: Path, database: str | None) -> Iterator[Finding]:
    """Everything about a state folder; one that is not there yet is fine."""
    if not state.exists():
        yield well("state-folder", f"{state} is not there yet; the first `dure up --state {state}` makes it")
        return
    yield _disk(state)
    yield _file_system(state)
    yield from _modes(state)
    yield _ledger(state, database)


def _disk(state: Path) -> Finding:
    disk = shutil.disk_usage(state)
    said = f"{disk.free / 2**30:,.1f} GiB of {disk.total / 2**30:,.1f} are free on the disk of {state}"
    advice = "make room: when it is full nothing is accepted any more (what was accepted stays)"
    if disk.free < LEAST_FREE_BYTES:
        return failure("disk", said, advice)
    if disk.free < LEAST_FREE_PART * disk.total:
        return warning("disk", said, advice)
    return well("disk", said)


def _file_system(state: Path) -> Finding:
    kind = _kind_of(state)
    if kind.startswith(_REMOTE):
        advice = "keep the state folder on a local disk; locks and durable writes do not hold over a network"
        return failure("file-system", f"{state} lies on {kind}", advice)
    return well("file-system", f"{state} lies on {kind or 'a local disk'}")


def _kind_of(path: Path) -> str:
    """The kind of file system that the deepest mount point above a path has."""
    whole = str(path.resolve())
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    above = [(point, kind) for point, kind in mounts if whole == point or whole.startswith(point.rstrip("/") + "/")]
    return max(above, key=lambda each: len(each[0]), default=("", ""))[1]


def _modes(state: Path) -> Iterator[Finding]:
    private = [state, *(state / name for name in _PRIVATE_FILES)]
    open_to_others = [path for path in private if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077]
    for path in open_to_others:
        yield failure("private-files", f"others may read {path}", f"run `chmod go= {path}`")
    if not open_to_others:
        yield well("private-files", "keys and tokens are readable by their owner alone")
    owner = state.stat().st_uid
    if owner != os.getuid():
        advice = "run as that user (`sudo -u`), or some checks cannot look"
        yield warning("owner", f"{state} belongs to the user with number {owner}, not to you", advice)


def _ledger(state: Path, database: str | None) -> Finding:
    try:
        location = locate(state, database)
        with read_stored(location) as log:
            notes = log.checkpoints()
    except FileNotFoundError:
        return well("ledger", f"there is no ledger at {state} yet")
    except (LedgerError, KeyFileError) as error:
        return failure("ledger", str(error), "see docs/operate/troubleshooting.md, under the ledger")
    size = notes[-1].splitlines()[1] if notes else "0"
    return well("ledger", f"{_named(location)} has {int(size):,} entries; `dure ledger verify` proves each of them")


def _named(location: Location) -> str:
    return "the ledger in PostgreSQL" if location.database else str(location.file)
