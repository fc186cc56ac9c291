"""The sandbox of an attempt, as options of bubblewrap, and whether this machine can make one.

Inside there is the system's software, the attempt's own folders, the data it may read, and nothing else: no network but
a loopback that the ranks of the attempt share, no other process, no file of the server or of another attempt. All of
it is another user's with no privileges, and none can be had.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from dure.executors.contract import Launch
from dure.executors.local import folders, records
from dure.executors.local.gpus import Gpu

_SYSTEM = ("/usr", "/opt")
_SYSTEM_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
_SETTINGS = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/ssl",
    "/etc/nsswitch.conf",
    "/etc/OpenCL",
    "/etc/python3",
)
"""Of /etc only what programs need to start."""
# Names inside of a sandbox, where they are private.
_TEMPORARY = "/tmp"  # noqa: S108
_SHARED_MEMORY = "/dev/shm"  # noqa: S108
_SHARED_MEMORY_BYTES = 8 << 30
_MEBIBYTE = 1 << 20
_PROBE_S = 10.0

_Option = tuple[str, ...]
_ID = str(folders.SANDBOX_USER_ID)
# Without user namespaces inside, most of the kernel that only root may talk to stays out of reach.
_GPU_CONTROL = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
_ALONE: _Option = tuple(
    f"--unshare-user --uid {_ID} --gid {_ID} --disable-userns "
    "--unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try --clearenv".split()
)


class Sandboxes:
    """Makes sandboxes on this machine, which has `real_gpus`.

    `shown` are paths of software that every sandboxed job sees, read-only.
    """

    def __init__(self, shown: Sequence[str] = (), real_gpus: Sequence[Gpu] = ()) -> None:
        self._shown = tuple(shown)
        self._minors = {gpu.index: gpu.minor for gpu in real_gpus}
        self._works = False

    def problem(self) -> str:
        """Why no sandbox can be made here; empty when one can. Asked until it works once."""
        if not self._works:
            problem = _probe()
            if problem:
                return problem
            self._works = True
        return ""

    def options(self, launch: Launch, rank: int, folder: str) -> list[str]:
        """Options of bubblewrap for a rank, but for the job's variables. `folder` is the attempt's own."""
        options = [_ALONE, ("--hostname", launch.placements[rank].node), *_system()]
        options += _own_kernel_views(launch.memory_mib * _MEBIBYTE or _SHARED_MEMORY_BYTES)
        options += self._devices(launch.placements[rank].gpus)
        options += _private(folder, rank)
        options += [("--ro-bind", path, path) for path in (*self._shown, *launch.read_only)]
        scratch = os.path.join(folder, records.SCRATCH)
        outputs = os.path.join(folder, records.OUTPUTS)
        options += [("--ro-bind", folder, folder), ("--bind", scratch, scratch), ("--bind", outputs, outputs)]
        if launch.checkpoint_dir:
            options.append(("--bind", launch.checkpoint_dir, launch.checkpoint_dir))
        options.append(("--remount-ro", "/"))
        return [word for option in options for word in option]

    def _devices(self, gpus: Sequence[int]) -> list[_Option]:
        """The device files of a rank's own GPUs, and none of any other."""
        own = [f"/dev/nvidia{self._minors[index]}" for index in gpus if index in self._minors]
        return [("--dev-bind-try", path, path) for path in (*own, *_GPU_CONTROL)] if own else []


def objection_to_data(launch: Launch, root: str) -> str:
    """Why what the job reads cannot be shown in its sandbox. `root` holds all attempts and must stay hidden."""
    for path in launch.read_only:
        if not os.path.isabs(path):
            return f"the path {path} of its data is not absolute"
        if not os.path.exists(path):
            return f"its data is not at {path} on this machine"
        real = os.path.realpath(path)
        if _overlap(real, root):
            return f"the path {path} of its data holds the platform's own state, which no job may see"
        if launch.checkpoint_dir and _overlap(real, launch.checkpoint_dir):
            return f"the path {path} of its data overlaps with its checkpoints, where it could change the data"
    return ""


def _overlap(real: str, other: str) -> bool:
    """True when one of two folders is the other, or lies in it."""
    other = os.path.realpath(other)
    return os.path.commonpath([real, other]) in (real, other)


def _system() -> list[_Option]:
    """The software of this machine, read-only. What is a link here is one inside."""
    options: list[_Option] = [("--ro-bind-try", path, path) for path in (*_SYSTEM, *_SETTINGS)]
    for path in _SYSTEM_LINKS:
        is_link = os.path.islink(path)
        options.append(("--symlink", os.readlink(path), path) if is_link else ("--ro-bind-try", path, path))
    return options


def _own_kernel_views(shared_memory_bytes: int) -> list[_Option]:
    return [("--proc", "/proc"), ("--dev", "/dev"), ("--size", str(shared_memory_bytes)), ("--tmpfs", _SHARED_MEMORY)]


def _private(folder: str, rank: int) -> list[_Option]:
    """What only this rank has."""
    names = (folders.TEMPORARY, folders.HOME, folders.PASSWD, folders.GROUP)
    temporary, home, passwd, group = (os.path.join(folder, folders.private_name(rank, name)) for name in names)
    return [
        ("--bind", temporary, _TEMPORARY),
        ("--symlink", _TEMPORARY, f"/var{_TEMPORARY}"),
        ("--bind", home, folders.SANDBOX_HOME),
        ("--ro-bind", passwd, "/etc/passwd"),
        ("--ro-bind", group, "/etc/group"),
    ]


def _probe() -> str:
    """Run nothing in a sandbox; what went wrong."""
    options = [_ALONE, ("--unshare-net",), *_system(), *_own_kernel_views(_MEBIBYTE)]
    command = [records.BUBBLEWRAP, *(word for option in options for word in option), "--", "true"]
    try:
        done = subprocess.run(  # noqa: S603 - the program and its options are our own
            command, env={"PATH": os.defpath}, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_S
        )
    except FileNotFoundError:
        return "bubblewrap is not installed on this machine; install it, for example with: apt-get install bubblewrap"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not run on this machine: {error}"
    said = done.stderr.decode(errors="replace").strip()
    return f"bubblewrap does not work on this machine: {said}" if done.returncode else ""
