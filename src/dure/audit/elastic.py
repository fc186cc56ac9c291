"""Judging who is resized: an elastic job that has run long enough, saves its work, and will have more nodes."""

from __future__ import annotations

from collections.abc import Iterator

from dure.audit.page import WARNED, Entry, Page

Findings = Iterator[tuple[str, str]]


def judge_growth(page: Page, entry: Entry, now_ms: int) -> Findings:
    """A job is warned of a resize when its protected time is over and a quarter more nodes are idle beside its own."""
    asked, timing = entry.submitted, page.nation.timing
    gain = -(-entry.nodes // 4)
    if not asked.min_nodes:
        yield "resized-not-elastic", f"it always has {asked.nodes} nodes"
    if entry.nodes + gain > asked.nodes:
        yield "resized-beyond-most", f"it has {entry.nodes} nodes and may have {asked.nodes}"
    if not asked.saves_when_warned:
        yield "resized-without-saving", "it does not save its work when warned"
    peace_ms = now_ms - entry.left_in_peace_from_ms
    if peace_ms < timing.protected_ms:
        yield "resized-too-soon", f"it was left in peace for {peace_ms} ms of {timing.protected_ms}"
    if _idle_beside(page, entry, gain) < gain:
        yield "resized-for-nothing", f"fewer than {gain} nodes are idle for it"


def judge_resizing(page: Page, entry: Entry, now_ms: int) -> Findings:
    """A job is stopped for that after its warning, and if the nodes are still there."""
    if entry.state != WARNED or not entry.resizes or now_ms < entry.stop_at_ms:
        yield "stopped-before-warning-ended", f"now {now_ms}, promised {entry.stop_at_ms}"
        return
    gain = -(-entry.nodes // 4)
    if _idle_beside(page, entry, gain) < gain:
        yield "resized-for-nothing", f"fewer than {gain} nodes are idle for it"


def _idle_beside(page: Page, entry: Entry, enough: int) -> int:
    """Nodes of its group that have room for one more rank and are not its own, counted up to `enough`."""
    own = {placement.node for placement in entry.placements}
    _, group = page.nodes[entry.placements[0].node]
    count = 0
    for node in group.node_names():
        idle = sum(page.gpus.get((node, gpu), 0) == 0 for gpu in range(group.gpus)) - page.promised.get(node, 0)
        is_up = page.node_states.get(node, "up") == "up"
        if node not in own and is_up and idle >= entry.gpus_per_node:
            count += 1
        if count == enough:
            break
    return count
