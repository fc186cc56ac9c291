"""The fleet: nodes as lines, and sites as rows of GPU cells with the owner of what runs on each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from msgspec import Struct

from dure.model.fleet import Site
from dure.model.jobs import JobState
from dure.reports.reservations import Kept, ReservationLine, kept_ahead
from dure.world.cards import JobCard, NodeCard

if TYPE_CHECKING:
    # The world brings the compiler along; whoever only reads reports (the command line) need not pay for it.
    from dure.world.world import World


NO_CONTACTS: Mapping[str, ContactLine] = MappingProxyType({})


class NodeLine(Struct, frozen=True, kw_only=True):
    """One node. `state` is `up`, `cordoned`, `drained`, `down`, `suspect` or `unreachable`.

    Free amounts are what a new job could have. A `suspect` node comes back by itself at `until_ms`.
    """

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
    reservations: tuple[ReservationLine, ...] = ()
    """Present and coming, in the order in which they begin."""
    until_ms: int | None = None


class NodesReport(Struct, frozen=True, kw_only=True):
    """Every node, in placement order."""

    at_ms: int
    nodes: tuple[NodeLine, ...]


class CellPart(Struct, frozen=True, kw_only=True):
    """One job's part of a GPU: so many thousandths, or a MIG slice with its memory slices. `state` is as a cell's."""

    job: str
    organisation: str
    state: str
    milli: int
    borrowed: bool
    profile: str
    slices: tuple[int, ...]


class Cell(Struct, frozen=True, kw_only=True):
    """One GPU. `state` is `free`, `running`, `warned` or `claimed`; when idle, the state of its node."""

    index: int
    state: str
    used_milli: int
    organisation: str
    """Owner of the largest job on it (of the claim, if nothing runs); empty when free."""
    borrowed: bool
    jobs: tuple[str, ...]
    parts: tuple[CellPart, ...] = ()
    """What shares it: slices by their place, other parts by their start; empty when one job has all of it."""


class NodeCells(Struct, frozen=True, kw_only=True):
    """One node and its GPUs by number."""

    node: NodeLine
    cells: tuple[Cell, ...]
    claims: tuple[str, ...]
    """Jobs that wait for GPUs of this node to be given back."""


class OrganisationUse(Struct, frozen=True, kw_only=True):
    """What the jobs of one organisation hold, in thousandths of a GPU."""

    organisation: str
    used_milli: int
    borrowed_milli: int


class ContactLine(Struct, frozen=True, kw_only=True):
    """The way to a site's engine, and how old what is known of it is.

    While contact `is_lost`, nothing starts there, what runs runs on, and `problem` says what is wrong.
    """

    engine: str
    is_lost: bool
    heard_at_ms: int
    """When the engine last answered; 0 when it never did."""
    problem: str = ""


class SiteLine(Struct, frozen=True, kw_only=True):
    """One site; totals over all its nodes, in thousandths of a GPU."""

    name: str
    country: str
    owner: str
    title_ko: str
    title_en: str
    gpu_classes: tuple[str, ...]
    capacity_milli: int
    used_milli: int
    unavailable_milli: int
    """Not in use on nodes that are not up."""
    uses: tuple[OrganisationUse, ...]
    """Largest first."""
    nodes_total: int
    nodes: tuple[NodeCells, ...]
    """The first of them in placement order, at most as many as were asked for."""
    reservations: tuple[ReservationLine, ...] = ()
    """Present and coming, in the order in which they begin."""
    contact: ContactLine | None = None


class SitesReport(Struct, frozen=True, kw_only=True):
    """Every site, in the order of the nation's document."""

    at_ms: int
    sites: tuple[SiteLine, ...]


def nodes_report(world: World, now_ms: int) -> NodesReport:
    """Every node with what is free on it."""
    kept = kept_ahead(world.nation, now_ms)
    return NodesReport(at_ms=now_ms, nodes=tuple(_node_line(card, kept) for card in world.nodes()))


def sites_report(
    world: World, now_ms: int, contacts: Mapping[str, ContactLine] = NO_CONTACTS, most_nodes: int = 64
) -> SitesReport:
    """Every site with its totals and contact, and the GPU cells of at most `most_nodes` nodes of each."""
    held = _Held(world, kept_ahead(world.nation, now_ms))
    cards: dict[str, list[NodeCard]] = defaultdict(list)
    for card in world.nodes():
        cards[card.site].append(card)
    sites = tuple(
        _site_line(site, cards[site.name], held, contacts.get(site.name), most_nodes) for site in world.nation.sites
    )
    return SitesReport(at_ms=now_ms, sites=sites)


def _site_line(
    site: Site, cards: list[NodeCard], held: _Held, contact: ContactLine | None, most_nodes: int
) -> SiteLine:
    return SiteLine(
        name=site.name,
        country=site.country,
        owner=site.owner,
        title_ko=site.title_ko,
        title_en=site.title_en,
        gpu_classes=tuple(dict.fromkeys(group.gpu_class for group in site.nodes if group.gpu_class)),
        capacity_milli=sum(card.gpus * 1000 for card in cards),
        used_milli=sum(held.on_node(card.name) for card in cards),
        unavailable_milli=sum(card.gpus * 1000 - held.on_node(card.name) for card in cards if card.state != "up"),
        uses=held.by_organisation(site.name),
        nodes_total=len(cards),
        nodes=tuple(held.node(card) for card in cards[:most_nodes]),
        reservations=held.kept.by_site.get(site.name, ()),
        contact=contact,
    )


class _Use(Struct, frozen=True):
    """What one job holds of one GPU."""

    milli: int
    job: str
    organisation: str
    state: str
    borrowed: bool
    profile: str
    slices: tuple[int, ...]

    @property
    def is_part(self) -> bool:
        return 0 < self.milli < 1000 or bool(self.slices)


class _Held:
    """Who holds each GPU, gathered once from the jobs. A claim on a GPU that is still held counts nothing."""

    def __init__(self, world: World, kept: Kept) -> None:
        self.kept = kept
        self._uses: dict[tuple[str, int], list[_Use]] = defaultdict(list)
        self._on_node: dict[str, int] = defaultdict(int)
        self._claims: dict[str, list[str]] = defaultdict(list)
        self._at_site: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        for card in world.running():
            self._add(world, card)
        # Of those that wait, only claims are on nodes, and there may be a hundred thousand others.
        for card in world.claiming():
            self._add(world, card)

    def _add(self, world: World, card: JobCard) -> None:
        owner = world.nation.organisation_of(card.submitted.project)
        organisation = owner.name if owner else ""
        state = _cell_state(card.state)
        for placement in card.placements:
            if state == "claimed":
                self._claims[placement.node].append(card.job)
            milli = 0 if state == "claimed" else placement.milli
            for index in placement.gpus:
                profile, slices = placement.profile, placement.slices
                use = _Use(milli, card.job, organisation, state, card.borrowed, profile, slices)
                self._uses[(placement.node, index)].append(use)
            held = milli * len(placement.gpus)
            self._on_node[placement.node] += held
            totals = self._at_site[(card.site, organisation)]
            totals[0] += held
            totals[1] += held if card.borrowed else 0

    def on_node(self, node: str) -> int:
        """Thousandths of a GPU in use on a node."""
        return self._on_node.get(node, 0)

    def by_organisation(self, site: str) -> tuple[OrganisationUse, ...]:
        """Who uses how much of a site, largest first."""
        uses = [
            OrganisationUse(organisation=organisation, used_milli=used, borrowed_milli=borrowed)
            for (where, organisation), (used, borrowed) in self._at_site.items()
            if where == site and used
        ]
        return tuple(sorted(uses, key=lambda use: (-use.used_milli, use.organisation)))

    def node(self, card: NodeCard) -> NodeCells:
        """One node with all its GPUs."""
        cells = tuple(self.cell(card, index) for index in range(card.gpus))
        return NodeCells(node=_node_line(card, self.kept), cells=cells, claims=tuple(self._claims.get(card.name, ())))

    def cell(self, node: NodeCard, index: int) -> Cell:
        """One GPU, shown by the largest job on it, or else by the first claim."""
        uses = self._uses.get((node.name, index), [])
        shown = max(uses, key=lambda use: use.milli, default=None)
        return Cell(
            index=index,
            state=shown.state if shown else "free" if node.state == "up" else node.state,
            used_milli=min(1000, sum(use.milli for use in uses)),
            organisation=shown.organisation if shown else "",
            borrowed=shown.borrowed if shown else False,
            jobs=tuple(use.job for use in uses),
            parts=tuple(_part(use) for use in sorted(uses, key=lambda use: use.slices[:1]) if use.is_part),
        )


def _part(use: _Use) -> CellPart:
    return CellPart(
        job=use.job,
        organisation=use.organisation,
        state=use.state,
        milli=use.milli,
        borrowed=use.borrowed,
        profile=use.profile,
        slices=use.slices,
    )


def _cell_state(state: JobState) -> str:
    if state.is_waiting:
        return "claimed"
    return "warned" if state in {JobState.WARNED, JobState.STOPPING} else "running"


def _node_line(card: NodeCard, kept: Kept) -> NodeLine:
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
        reservations=kept.by_node.get(card.name, ()),
        until_ms=card.until_ms,
    )
