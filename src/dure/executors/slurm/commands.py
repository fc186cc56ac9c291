"""Slurm's own commands, run with a time limit, and what it means when one of them fails."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from dure.executors.contract import ExecutorError
from dure.executors.environment import JOB_PATH
from dure.executors.slurm.site import SlurmSite

_NOT_NOW = (
    "Unable to contact slurm",
    "Socket timed out",
    "Connection refused",
    "Connection timed out",
    "Connection reset",
    "Communication connection failure",
    "Communication shutdown failure",
    "Transport endpoint is not connected",
    "Zero Bytes were transmitted",
    "Resource temporarily unavailable",
    "temporarily unable to accept job",
    "in standby mode",
    "Incompatible versions of client and server",
    "Protocol authentication error",
    "Invalid authentication credential",
    "munge",
    "Unable to connect to database",
    "Failed to open slurm_conf",
    "Could not establish a configuration source",
    "Problem talking to the database",
)
"""What Slurm says when the fault is not in what was asked; the same may be asked again later."""
_LONGEST_COMPLAINT = 500


class SlurmUnreachable(ExecutorError):
    """Slurm did not answer, or not as itself; nothing is known of what it did."""


class SlurmRefused(ExecutorError):
    """Slurm understood and said no; the message is its own words."""


class Commands:
    """Runs Slurm's programs for one site. None of the server's own variables reaches them."""

    def __init__(self, site: SlurmSite) -> None:
        self._folder = site.programs
        self._timeout_s = site.command_timeout_s
        self._environment = {"PATH": JOB_PATH, "LANG": "C.UTF-8"}
        if site.conf:
            self._environment["SLURM_CONF"] = site.conf

    def run(self, program: str, *arguments: str, text: str = "", variables: Mapping[str, str] | None = None) -> str:
        """What the program prints, given `text` as its input. Raises `SlurmUnreachable` or `SlurmRefused`."""
        command = [os.path.join(self._folder, program), *arguments]
        try:
            done = subprocess.run(  # noqa: S603 - the program is Slurm's, and no shell reads the arguments
                command,
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._timeout_s,
                env=self._environment | dict(variables or {}),
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            raise SlurmUnreachable(f"{program} got no answer within {self._timeout_s:g} s") from None
        except OSError as error:
            raise SlurmUnreachable(
                f"{command[0]} cannot be run: {error.strerror}; install Slurm's client programs on the server, or say "
                "in `programs` where they are"
            ) from None
        if done.returncode == 0:
            return done.stdout
        raise _failure(program, done.stderr or done.stdout, done.returncode)


def _failure(program: str, complaint: str, code: int) -> ExecutorError:
    lines = [line.removeprefix(f"{program}: ").removeprefix("error: ").strip() for line in complaint.splitlines()]
    words = "; ".join(line for line in lines if line)[:_LONGEST_COMPLAINT] or f"it ended with code {code}"
    if any(phrase.lower() in complaint.lower() for phrase in _NOT_NOW):
        return SlurmUnreachable(f"{program}: {words}")
    return SlurmRefused(f"{program}: {words}")
