"""The files an attempt leaves behind: each a small JSON record, seen either whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os

ATTEMPTS = "attempts"
"""The folder of all attempts, inside the executor's own folder."""
SOCKET = "socket"
"""Where the supervisor takes orders."""
NOTICES = "notices"
"""Where the server hears that there is something new to read."""

BUBBLEWRAP = "bwrap"
"""The program that makes sandboxes."""

LOCK = "lock"
CLAIM = "claim"
START = "start"
EXIT = "exit"
STOP = "stop"
"""Order to the shim: terminate now, kill after `grace_ms`."""
SIGNAL = "signal"
"""Order to the shim: pass on this signal once."""
NOTICE = "notice.json"
"""What the job itself reads: when it will be stopped."""
SCRIPT = "script"
SETUP = "setup"
METERED = "metered"
"""Which of this machine's GPUs an attempt has, if they are real."""
GPU_USE = "gpu-use"
"""What they used while it ran."""
SCRATCH = "scratch"
OUTPUTS = "outputs"
"""What the job leaves there is its result: it stays when the attempt has ended."""
LISTING = "listing.json"
"""What is in there, once the attempt has ended."""
INSPECTED = "inspected.json"
"""What was found out about it, of attempts whose results are held."""
PRIVATE = "private"
"""What only sandboxed attempts have: the temporary and home folders of each rank."""


def log_name(rank: int) -> str:
    """Name of the file that takes a rank's output."""
    return f"rank{rank}.log"


def say_in_logs(folder: str, ranks: int, what: str) -> None:
    """Tell the reader of each rank's log, who sees only an exit code otherwise."""
    for rank in range(ranks):
        try:
            with open(os.path.join(folder, log_name(rank)), "a", encoding="utf-8") as log:
                log.write(f"dure: {what}\n")
        except OSError:
            continue  # what must be said cannot be: the disk is full, or the folder was removed


def read(folder: str, name: str) -> dict[str, object] | None:
    """A record; None when there is none. One that a power failure left unreadable is empty."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            found = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def exists(folder: str, name: str) -> bool:
    """True when there is such a record; it is then whole."""
    return os.path.exists(os.path.join(folder, name))


def replace(folder: str, name: str, record: dict[str, object], durable: bool) -> None:
    """Write a record in one step. A durable one has reached the disk, and so has its name, when this returns."""
    path = os.path.join(folder, name)
    _write(path + ".new", record, durable)
    os.rename(path + ".new", path)
    if durable:
        sync_folder(folder)


def create_once(folder: str, name: str, record: dict[str, object]) -> bool:
    """Write a record unless there is one already; False when somebody else was first."""
    path = os.path.join(folder, name)
    # Named after the machine too: on a shared file system another one may have a process of the same number.
    draft = f"{path}.{os.uname().nodename}.{os.getpid()}"
    _write(draft, record, durable=False)
    try:
        os.link(draft, path)
        return True
    except FileExistsError:
        return False
    finally:
        os.unlink(draft)


def take(folder: str, name: str) -> dict[str, object] | None:
    """Read a record and remove it."""
    found = read(folder, name)
    if found is not None:
        os.unlink(os.path.join(folder, name))
    return found


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def try_lock(path: str) -> int | None:
    """Lock a file for as long as the descriptor returned stays open; None when somebody else holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    except BlockingIOError:
        os.close(handle)
        return None


def _write(path: str, record: dict[str, object], durable: bool) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(record, file)
        file.flush()
        if durable:
            os.fsync(file.fileno())
