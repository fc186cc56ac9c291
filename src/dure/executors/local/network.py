"""A network that only the ranks of one sandboxed attempt are in: they reach each other, and nothing else."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SET_INTERFACE_FLAGS = 0x8914
_UP_AND_RUNNING = 0x1 | 0x40
# Loaded here, before any fork, so that shims share the memory.
_C_LIBRARY = ctypes.CDLL(None, use_errno=True)


def leave_network() -> None:
    """Move this process into a network of its own with nothing but a loopback; what it forks later shares that.

    Sockets in the file system still reach whoever listens, so the server goes on hearing of the attempt. Raises
    `OSError` where the kernel does not allow it.
    """
    user, group = os.geteuid(), os.getegid()
    is_root = user == 0
    if _C_LIBRARY.unshare(_CLONE_NEWNET if is_root else _CLONE_NEWNET | _CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "it may not have a network of its own")
    if not is_root:
        # Without a privilege, it takes a user namespace to have one; this process stays the user that it is.
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SET_INTERFACE_FLAGS, struct.pack("16sh", b"lo", _UP_AND_RUNNING))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
