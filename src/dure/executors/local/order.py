"""What the server asks of the supervisor: run this attempt. One line of JSON, on the socket only, never on disk."""

from __future__ import annotations

import json

from dure.executors.local.limits import Limits


class Order:
    """One attempt to run, complete: the shim and its ranks choose nothing but a free port.

    `environments` has one complete environment per rank, secrets included, without `MASTER_PORT`. `sandboxes` has the
    options of bubblewrap per rank, or nothing for an attempt that runs without a sandbox.
    """

    __slots__ = (
        "argv",
        "attempt_id",
        "checkpoint_dir",
        "environments",
        "limits",
        "master_port",
        "sandboxes",
        "workdir",
    )

    def __init__(
        self,
        attempt_id: str,
        argv: list[str],
        workdir: str,
        checkpoint_dir: str,
        environments: list[dict[str, str]],
        limits: Limits | None = None,
        sandboxes: list[list[str]] | None = None,
        master_port: int = 0,
    ) -> None:
        self.attempt_id = attempt_id
        self.argv = argv
        self.workdir = workdir
        self.checkpoint_dir = checkpoint_dir
        self.environments = environments
        self.limits = limits or Limits()
        self.sandboxes = sandboxes or []
        self.master_port = master_port
        """Chosen when the attempt starts if it is 0."""

    def as_line(self) -> bytes:
        """How it travels."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields | {"limits": self.limits.as_dict()}).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Order:
        """What `as_line` wrote."""
        fields = json.loads(line)
        return cls(**fields | {"limits": Limits(**fields["limits"])})
