"""A plain scheduler that shares no line with Dure: strict FIFO and SJF, by the rules of the common workload W1.

At one instant attempts end, then jobs arrive, then jobs start. The first job that does not fit stops the pass. A job
goes to the nodes with the fewest free GPUs that still fit, lowest number first; all its nodes or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Literal, NamedTuple


class Job(NamedTuple):
    """What the reference knows of a job; `gpus` are per node."""

    submit_ms: int
    duration_ms: int
    nodes: int
    gpus: int


def start_times_ms(jobs: Sequence[Job], nodes: int, gpus_per_node: int, policy: Literal["fifo", "sjf"]) -> list[int]:
    """When each of `jobs`, which are in order of submission, starts on an empty fleet."""
    free = [gpus_per_node] * nodes
    free_in_all = nodes * gpus_per_node
    waiting: list[tuple[int, int]] = []
    ends: list[tuple[int, int]] = []
    held: dict[int, list[int]] = {}
    starts = [-1] * len(jobs)
    arrived = 0
    while arrived < len(jobs) or ends:
        now = min([job.submit_ms for job in jobs[arrived : arrived + 1]] + [end for end, _ in ends[:1]])
        while ends and ends[0][0] == now:
            ended = heappop(ends)[1]
            free_in_all += jobs[ended].nodes * jobs[ended].gpus
            for node in held.pop(ended):
                free[node] += jobs[ended].gpus
        while arrived < len(jobs) and jobs[arrived].submit_ms == now:
            heappush(waiting, (jobs[arrived].duration_ms if policy == "sjf" else 0, arrived))
            arrived += 1
        while waiting:
            job = waiting[0][1]
            wanted = jobs[job]
            if wanted.nodes * wanted.gpus > free_in_all:
                break
            fitting = sorted((idle, node) for node, idle in enumerate(free) if idle >= wanted.gpus)[: wanted.nodes]
            if len(fitting) < wanted.nodes:
                break
            heappop(waiting)
            held[job] = [node for _, node in fitting]
            for node in held[job]:
                free[node] -= wanted.gpus
            free_in_all -= wanted.nodes * wanted.gpus
            starts[job] = now
            heappush(ends, (now + wanted.duration_ms, job))
    return starts
