"""A job's secrets in two shares, each of which is noise without the other.

One share is a file of random bytes in the attempt's folder, on the shared file system; the other travels in the
environment of the engine's job, and lies with it where the engine keeps jobs. Whoever can read both, such as root on a
node while the job runs, has the secrets. A copy or a backup of one of the disks gives nothing away.
"""

from __future__ import annotations

import json
import os

from dure.executors.shared.agent import files, shares

_STEP_BYTES = 4_096
"""The file's size says only in such steps how much the secrets are."""
MOST_BYTES = 48_000
"""An environment variable holds 128 KiB, and a share is written in hexadecimal."""


def split(folder: str, secrets: dict[str, str]) -> dict[str, str]:
    """Write one share into the folder, unless it is there; the other one, as a variable of the engine's job.

    The first file stays, so that a job of an earlier submission can read its secrets too.
    """
    if not secrets:
        return {}
    body = json.dumps(secrets).encode()
    path = os.path.join(folder, files.SECRETS)
    if not os.path.exists(path) or os.path.getsize(path) < len(body):
        _write_noise(path, len(body) + -len(body) % _STEP_BYTES)
    with open(path, "rb") as file:
        return {shares.VARIABLE: shares.combine(body, file.read()).hex()}


def _write_noise(path: str, size: int) -> None:
    draft = f"{path}.new"
    with open(draft, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(os.urandom(size))
        file.flush()
        os.fsync(file.fileno())
    os.rename(draft, path)
