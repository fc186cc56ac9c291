"""The folders an attempt works in: made before its ranks start; of a sandboxed one, nothing is left when it has ended.

All paths here are relative to the attempt's own folder, except the checkpoint folder, which outlives it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from dure.executors.local import records
from dure.executors.local.order import Order

SANDBOX_USER = "job"
SANDBOX_USER_ID = 1000
SANDBOX_HOME = f"/home/{SANDBOX_USER}"
_ENTRY = f"{SANDBOX_USER}:x:{SANDBOX_USER_ID}:"
TEMPORARY = "tmp"
HOME = "home"
PASSWD = "passwd"  # noqa: S105 (the name of a file)
GROUP = "group"


def private_name(rank: int, name: str) -> str:
    """A file or folder that only this rank of a sandboxed attempt has."""
    return os.path.join(records.PRIVATE, str(rank), name)


def make(order: Order) -> None:
    """Make what the ranks will find."""
    os.makedirs(records.SCRATCH, exist_ok=True)
    os.makedirs(records.OUTPUTS, mode=0o700, exist_ok=True)
    if order.checkpoint_dir:
        os.makedirs(order.checkpoint_dir, exist_ok=True)
    for rank in range(len(order.sandboxes)):
        for name in (TEMPORARY, HOME):
            os.makedirs(private_name(rank, name), mode=0o700, exist_ok=True)
        _write(
            private_name(rank, PASSWD),
            f"{SANDBOX_USER}:x:{SANDBOX_USER_ID}:{SANDBOX_USER_ID}::{SANDBOX_HOME}:/bin/sh\n",
        )
        _write(private_name(rank, GROUP), f"{SANDBOX_USER}:x:{SANDBOX_USER_ID}:\n")


def wipe(folder: str) -> None:
    """Delete what a sandboxed attempt worked with, if it was one; its outputs, logs and checkpoints stay.

    Follows no link that the job left. Raises `OSError` when something cannot be deleted.
    """
    if not os.path.isdir(os.path.join(folder, records.PRIVATE)):
        return
    # Loaded only here: every shim would carry it otherwise.
    import shutil

    # The private folder goes last: as long as it is there, wiping is not done.
    for name in (records.SCRATCH, records.PRIVATE):
        path = os.path.join(folder, name)
        if os.path.lexists(path):
            shutil.rmtree(path, onerror=open_up_and_retry)


def open_up_and_retry(remove: Callable[..., object], path: str, problem: object) -> None:
    """A job may have closed a folder to its own user."""
    with suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)
        if not os.path.islink(path):
            os.chmod(path, 0o700)
    if remove in (os.open, os.scandir, os.lstat):
        import shutil

        shutil.rmtree(path)
    else:
        remove(path)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
