"""The fleet: nodes as lines, and sites as rows of GPU cells with the owner of what runs on each."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct

from dure.model.jobs import JobState
from dure.world.cards import JobCard, NodeCard

if TYPE_CHECKING:
    # The world brings the compiler along; whoever only reads reports (the command line) need not pay for it.
    from dure.world.world import World


class NodeLine(Struct, frozen=True, kw_only=True):
    """One node. Free amounts are what a new job could have; `state` is `up`, `drained` or `down`."""

    name: str
    site: str
    state: str
    gpu_class: str
    gpus: int
    free_gpus_milli: int
    cpus: int
    free_cpus: int
    memory_mib: int
    free_memory_mib: int
    jobs: tuple[str, ...]


class NodesReport(Struct, frozen=True, kw_only=True):
    """Every node, in placement order."""

    at_ms: int
    nodes: tuple[NodeLine, ...]


class Cell(Struct, frozen=True, kw_only=True):
    """One GPU. `state` is `free`, `running`, `warned`, `claimed` or, when its node is away, `drained` or `down`."""

    index: int
    state: str
    used_milli: int
    organisation: str
    """Owner of the largest job on it (of the claim, if nothing runs); empty when free."""
    borrowed: bool
    jobs: tuple[str, ...]


class NodeCells(Struct, frozen=True, kw_only=True):
    """One node and its GPUs by number."""

    node: NodeLine
    cells: tuple[Cell, ...]


class SiteLine(Struct, frozen=True, kw_only=True):
    """One site with its nodes; totals in thousandths of a GPU."""

    name: str
    country: str
    owner: str
    title_ko: str
    title_en: str
    gpu_classes: tuple[str, ...]
    capacity_milli: int
    used_milli: int
    unavailable_milli: int
    """On nodes that are drained or down and not in use."""
    nodes: tuple[NodeCells, ...]


class SitesReport(Struct, frozen=True, kw_only=True):
    """Every site, in the order of the nation's document."""

    at_ms: int
    sites: tuple[SiteLine, ...]


class _Use(Struct, frozen=True):
    """What one job holds of one GPU."""

    milli: int
    job: str
    organisation: str
    state: str
    borrowed: bool


_Uses = dict[tuple[str, int], list[_Use]]


def nodes_report(world: World, now_ms: int) -> NodesReport:
    """Every node with what is free on it."""
    return NodesReport(at_ms=now_ms, nodes=tuple(_node_line(card) for card in world.nodes()))


def sites_report(world: World, now_ms: int) -> SitesReport:
    """Every site with its nodes and GPU cells."""
    uses = _uses(world)
    by_site: dict[str, list[NodeCells]] = defaultdict(list)
    for card in world.nodes():
        cells = tuple(_cell(card, index, uses.get((card.name, index), [])) for index in range(card.gpus))
        by_site[card.site].append(NodeCells(node=_node_line(card), cells=cells))
    sites = tuple(
        SiteLine(
            name=site.name,
            country=site.country,
            owner=site.owner,
            title_ko=site.title_ko,
            title_en=site.title_en,
            gpu_classes=tuple(dict.fromkeys(group.gpu_class for group in site.nodes if group.gpu_class)),
            capacity_milli=sum(each.node.gpus * 1000 for each in by_site[site.name]),
            used_milli=sum(cell.used_milli for each in by_site[site.name] for cell in each.cells),
            unavailable_milli=sum(
                1000 - cell.used_milli for each in by_site[site.name] for cell in each.cells if each.node.state != "up"
            ),
            nodes=tuple(by_site[site.name]),
        )
        for site in world.nation.sites
    )
    return SitesReport(at_ms=now_ms, sites=sites)


def _node_line(card: NodeCard) -> NodeLine:
    return NodeLine(
        name=card.name,
        site=card.site,
        state=card.state,
        gpu_class=card.gpu_class,
        gpus=card.gpus,
        free_gpus_milli=card.free_gpus_milli,
        cpus=card.cpus,
        free_cpus=card.free_cpus,
        memory_mib=card.memory_mib,
        free_memory_mib=card.free_memory_mib,
        jobs=card.jobs,
    )


def _uses(world: World) -> _Uses:
    """Who holds each GPU. What runs comes first; a claim on a GPU that is still held comes after it."""
    uses: _Uses = defaultdict(list)
    for card in [*world.running(), *(each for each in world.queue() if each.placements)]:
        for placement in card.placements:
            for index in placement.gpus:
                uses[(placement.node, index)].append(_use(world, card, placement.milli))
    return uses


def _use(world: World, card: JobCard, milli: int) -> _Use:
    owner = world.nation.organisation_of(card.submitted.project)
    return _Use(
        milli=0 if card.state.is_waiting else milli,
        job=card.job,
        organisation=owner.name if owner else "",
        state=_cell_state(card.state),
        borrowed=card.borrowed,
    )


def _cell_state(state: JobState) -> str:
    if state.is_waiting:
        return "claimed"
    return "warned" if state in {JobState.WARNED, JobState.STOPPING} else "running"


def _cell(node: NodeCard, index: int, uses: list[_Use]) -> Cell:
    shown = max(uses, key=lambda use: use.milli, default=None)
    state = node.state if node.state != "up" else shown.state if shown else "free"
    return Cell(
        index=index,
        state=state,
        used_milli=min(1000, sum(use.milli for use in uses)),
        organisation=shown.organisation if shown else "",
        borrowed=shown.borrowed if shown else False,
        jobs=tuple(use.job for use in uses),
    )
