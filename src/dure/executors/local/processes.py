"""Processes as the kernel tells them apart: a number that may be used again, and the moment it was given out."""

from __future__ import annotations

import os
import signal
import time

PROCESS_TABLE = "/proc"
_GONE = "ZX"
"""States in which a process holds nothing any more: waiting to be reaped, or dead."""


class Process:
    """One process, for good: the number alone may belong to somebody else tomorrow."""

    __slots__ = ("pid", "start_ticks")

    def __init__(self, pid: int, start_ticks: int) -> None:
        self.pid = pid
        self.start_ticks = start_ticks

    def as_list(self) -> list[int]:
        """As it is kept in records."""
        return [self.pid, self.start_ticks]


class Entry:
    """One line of the kernel's process table."""

    __slots__ = ("group", "parent", "pid", "session", "start_ticks", "state")

    def __init__(self, pid: int, stat: str) -> None:
        # The program's name stands in parentheses and may itself hold spaces and parentheses: read after the last one.
        fields = stat[stat.rindex(")") + 2 :].split()
        self.pid = pid
        self.state = fields[0]
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.session = int(fields[3])
        self.start_ticks = int(fields[19])

    def is_gone(self) -> bool:
        """True for a process that only waits to be reaped."""
        return self.state in _GONE


def boot_id() -> str:
    """Names the time since the machine was last started; process numbers mean nothing in another one."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def entry(pid: int) -> Entry | None:
    """What the kernel knows of a process; None when there is none of that number."""
    try:
        with open(f"{PROCESS_TABLE}/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return Entry(pid, file.read())
    except (FileNotFoundError, ProcessLookupError):
        return None


def table() -> list[Entry]:
    """Every process of this machine."""
    found = (entry(int(name)) for name in os.listdir(PROCESS_TABLE) if name.isdigit())
    return [each for each in found if each is not None]


def identify(pid: int) -> Process | None:
    """The process that has this number now."""
    found = entry(pid)
    return Process(pid, found.start_ticks) if found else None


def is_alive(process: Process) -> bool:
    """True while this very process runs."""
    found = entry(process.pid)
    return found is not None and found.start_ticks == process.start_ticks and not found.is_gone()


def send_signal(process: Process, number: int) -> bool:
    """Signal this very process and no later one of its number. False when it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # The handle is opened before the comparison: from here on it can only mean the process that was compared.
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def catches(pid: int, number: int) -> bool:
    """True when the process has a handler of its own for the signal."""
    try:
        with open(f"{PROCESS_TABLE}/{pid}/status", encoding="utf-8", errors="replace") as file:
            caught = next((line for line in file if line.startswith("SigCgt:")), "SigCgt: 0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def descendants(ancestor: int) -> list[Entry]:
    """Every process that comes from this one, parents before children."""
    children: dict[int, list[Entry]] = {}
    for each in table():
        children.setdefault(each.parent, []).append(each)
    found = list(children.get(ancestor, ()))
    for each in found:
        found.extend(children.get(each.pid, ()))
    return found


def children() -> list[int]:
    """Numbers of this process's own children; none where the kernel does not list them."""
    try:
        with open(f"{PROCESS_TABLE}/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:
        return []


def _carries(pid: int, marker: bytes) -> bool:
    try:
        with open(f"{PROCESS_TABLE}/{pid}/environ", "rb") as file:
            return marker in file.read().split(b"\0")
    except OSError:
        return False  # gone, or somebody else's: then it is none of ours


def _survivors(leaders: list[Process], marker: bytes) -> list[Process]:
    """What is left of the sessions of these leaders, and whatever carries the marker in its environment."""
    entries = [each for each in table() if not each.is_gone()]
    ours = {leader.pid: leader.start_ticks for leader in leaders}
    # A session is known by its leader's number, so it proves something only while that very leader lives. A leader
    # that was only just forked may not have moved to its session yet.
    sessions = {each.pid for each in entries if ours.get(each.pid) == each.start_ticks}
    return [
        Process(each.pid, each.start_ticks)
        for each in entries
        if each.pid in sessions or each.session in sessions or _carries(each.pid, marker)
    ]


def kill_all(leaders: list[Process], marker: str, patience_s: float) -> bool:
    """Kill sessions and whatever carries `marker` (`NAME=value`); True once all of it is proven gone."""
    deadline = time.monotonic() + patience_s
    doomed: dict[tuple[int, int], Process] = {}
    while True:
        for each in _survivors(leaders, marker.encode()):
            doomed[each.pid, each.start_ticks] = each
        doomed = {key: each for key, each in doomed.items() if is_alive(each)}
        if not doomed:
            return True
        if time.monotonic() > deadline:
            return False
        for each in doomed.values():
            send_signal(each, signal.SIGKILL)
        time.sleep(0.005)
