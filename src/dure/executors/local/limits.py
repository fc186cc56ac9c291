"""What one attempt may take of its machine, and how the kernel is told. No privilege and no control group is needed."""

from __future__ import annotations

import resource

MEBIBYTE = 1 << 20
USUAL_LOG_BYTES = 256 * MEBIBYTE
USUAL_OUTPUT_BYTES = 64 * 1024 * MEBIBYTE
USUAL_OUTPUT_FILES = 10_000
_MOST_OPEN_FILES = 65_536


class Limits:
    """The limits of one attempt. 0 is no limit of that kind.

    `memory_bytes` bounds what each process may write to of its own (its data: heaps and private mappings, not the
    address space, which GPU programs reserve far more of than they use). `processes` counts processes and threads of a
    rank, and only in a sandbox: outside of one the kernel would count those of every job of the same user.
    """

    __slots__ = ("disk_bytes", "log_bytes", "memory_bytes", "output_bytes", "output_files", "processes", "time_ms")

    def __init__(
        self,
        log_bytes: int = USUAL_LOG_BYTES,
        disk_bytes: int = 0,
        memory_bytes: int = 0,
        processes: int = 0,
        time_ms: int = 0,
        output_bytes: int = USUAL_OUTPUT_BYTES,
        output_files: int = USUAL_OUTPUT_FILES,
    ) -> None:
        self.log_bytes = log_bytes
        self.disk_bytes = disk_bytes
        self.memory_bytes = memory_bytes
        self.processes = processes
        self.time_ms = time_ms
        self.output_bytes = output_bytes
        self.output_files = output_files

    def as_dict(self) -> dict[str, int]:
        """How they travel with an order."""
        return {name: getattr(self, name) for name in self.__slots__}

    def apply(self) -> None:
        """Bind this process, and all that come from it, by those that the kernel keeps."""
        _lower(resource.RLIMIT_CORE, 0)  # a core file would hold the job's data and secrets
        _set_soft(resource.RLIMIT_NOFILE, _MOST_OPEN_FILES)
        if self.memory_bytes:
            _lower(resource.RLIMIT_DATA, self.memory_bytes)
        if self.processes:
            _lower(resource.RLIMIT_NPROC, self.processes)


def _lower(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    least = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (least, least))


def _set_soft(kind: int, wanted: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
