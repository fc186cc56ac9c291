"""Names and numbers: where in the columns the sites, classes, nodes and shares of a declared nation are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dure.model.events import JobSubmitted
from dure.model.nation import Nation
from dure.model.organisations import UNLIMITED_MILLI
from dure.world.building import BookingShape, PoolShape, Shape, ShareShape
from dure.world.cards import NodeCard, ShareCard
from dure.world.columns import (
    ALL_SITES,
    CHOICE_BITS,
    NODE_CORDONED,
    NODE_DOWN,
    NODE_DRAINED,
    NODE_SUSPECT,
    NODE_UNREACHABLE,
    NODE_UP,
    NONE,
    UNLIMITED,
    Columns,
)

NODE_STATES = {
    NODE_UP: "up",
    NODE_CORDONED: "cordoned",
    NODE_DRAINED: "drained",
    NODE_DOWN: "down",
    NODE_SUSPECT: "suspect",
    NODE_UNREACHABLE: "unreachable",
}
NODE_STATE_CODES = {name: code for code, name in NODE_STATES.items()}


class Atlas:
    """The row numbers of one declared nation. Nodes are in class order, then in the order of the document."""

    def __init__(self, nation: Nation) -> None:
        self.nation = nation
        self._classes = [gpu_class.name for gpu_class in nation.gpu_classes] or [""]
        self._class_index = {name: index for index, name in enumerate(self._classes)}
        self._site_index = {site.name: index for index, site in enumerate(nation.sites)}
        groups = nation.node_groups()
        self._groups = sorted(groups, key=lambda pair: self._class_index.get(pair[1].gpu_class, 0))
        self._node_names = [name for _, group in self._groups for name in group.node_names()]
        self._node_group = [pair for pair in self._groups for _ in range(pair[1].count)]
        self._node_index = {name: index for index, name in enumerate(self._node_names)}
        self._share_index = {share.name: index + 1 for index, share in enumerate(nation.shares)}
        self._project_share: dict[str, int] = {}
        for organisation in nation.organisations:
            for project in organisation.projects:
                own = self._share_index.get(project)
                self._project_share[project] = own or self._share_index.get(organisation.name, 0)

    @property
    def node_names(self) -> Sequence[str]:
        """Every node, in placement order."""
        return self._node_names

    @property
    def node_count(self) -> int:
        """Nodes in the fleet."""
        return len(self._node_names)

    def shape(self) -> Shape:
        """What `building.build` needs to make columns for this nation."""
        pools = [
            PoolShape(
                gpu_class=self._class_index.get(group.gpu_class, 0),
                site=self._site_index[site.name],
                gpus=group.gpus,
                cpus_milli=group.cpus * 1000,
                memory_mib=group.memory_mib,
                nodes=group.count,
                domain_nodes=group.topology.domain,
                rack_nodes=group.topology.rack,
                block_nodes=group.topology.block,
                spare=group.topology.spare,
            )
            for site, group in self._groups
        ]
        return Shape(
            classes=len(self._classes),
            pools=pools,
            shares=self._share_shapes(),
            timing=self.nation.timing,
            half_lives_ms=[each.half_life_ms for each in self.nation.gpu_classes],
            bookings=self._booking_shapes(),
        )

    def _booking_shapes(self) -> list[BookingShape]:
        return [
            BookingShape(
                node=self._node_index[node],
                from_ms=each.from_ms,
                until_ms=each.until_ms,
                share=self._share_index[each.share] - 1 if each.share else NONE,
                reservation=number,
            )
            for number, each in enumerate(self.nation.reservations)
            for node in each.chosen
        ]

    def _share_shapes(self) -> list[ShareShape]:
        shapes = []
        for share in self.nation.shares:
            amounts = [self.nation.amount(share, name) for name in self._classes]
            shapes.append(
                ShareShape(
                    parent=NONE if share.parent is None else self._share_index[share.parent] - 1,
                    weight=share.weight,
                    guarantee=tuple(amount.guarantee_milli for amount in amounts),
                    limit=tuple(amount.limit_milli for amount in amounts),
                    lend=tuple(amount.lend_milli for amount in amounts),
                    reclaim_per_hour=tuple(amount.reclaim_per_hour_milli for amount in amounts),
                )
            )
        return shapes

    def class_index(self, name: str) -> int:
        """Index of a GPU class; a job without GPUs counts under the first one."""
        return self._class_index.get(name, 0)

    def class_name(self, index: int) -> str:
        """Name of a GPU class."""
        return self._classes[index]

    def has_node(self, name: str) -> bool:
        """True when the fleet has a node of this name."""
        return name in self._node_index

    def node_index(self, name: str) -> int:
        """Row of a node."""
        return self._node_index[name]

    def node_name(self, index: int) -> str:
        """Name of a node."""
        return self._node_names[index]

    def nodes_of_site(self, site: str) -> list[int]:
        """Rows of a site's nodes."""
        return [index for index, (where, _) in enumerate(self._node_group) if where.name == site]

    def site_of_node(self, name: str) -> str:
        """Name of the site a node is at."""
        return self._node_group[self._node_index[name]][0].name

    def share_index_of(self, project: str) -> int:
        """Index of a project's share within each class; 0, the root, when it has none."""
        return self._project_share.get(project, 0)

    def share_name(self, row: int, columns: Columns) -> str:
        """Name of the share in a row; empty for the root."""
        index = row % int(columns.counters[0].shares)
        return self.nation.shares[index - 1].name if index else ""

    def pack_choices(self, names: Sequence[str]) -> int:
        """GPU classes in order of preference, packed. A job without GPUs may use the nodes of any class."""
        packed = 0
        for position, name in enumerate(names or self._classes[:7]):
            packed |= (self._class_index[name] + 1) << (CHOICE_BITS * position)
        return packed

    def slices_wanted(self, job: JobSubmitted) -> dict[str, int]:
        """How many memory slices of a GPU a job wants by MIG, and a bit per one at which they may begin."""
        if not job.mig:
            return {"slices": 0, "slice_starts": 0}
        gpu_class = self.nation.gpu_class(job.gpus[0][0])
        profile = gpu_class.mig_profile(job.mig[0]) if gpu_class else None
        assert profile is not None, f"{job.job} wants {job.mig[0]}, which intake would have refused"
        return {"slices": profile.memory_slices, "slice_starts": sum(1 << start for start in profile.starts)}

    def site_mask(self, names: Sequence[str]) -> int:
        """One bit per site."""
        return sum(1 << self._site_index[name] for name in names if name in self._site_index) & ALL_SITES

    def node_states(self, columns: Columns) -> Iterator[tuple[str, int]]:
        """Every node that is not simply up."""
        for index, name in enumerate(self._node_names):
            if columns.nodes[index].state != NODE_UP:
                yield name, int(columns.nodes[index].state)

    def carry_over_usage(self, before: Atlas, old: Columns, new: Columns) -> None:
        """Shares that go on under a new declaration keep the memory of what they used and of what they took back."""
        for class_name, class_index in self._class_index.items():
            if class_name not in before._class_index:
                continue
            old_root = int(old.classes[before._class_index[class_name]].root)
            new_root = int(new.classes[class_index].root)
            for share_name, share_index in self._share_index.items():
                if share_name in before._share_index:
                    source = old.shares[old_root + before._share_index[share_name]]
                    target = new.shares[new_root + share_index]
                    target.usage, target.usage_at_ms = source.usage, source.usage_at_ms
                    target.reclaim_allowed_at_ms = source.reclaim_allowed_at_ms

    def carry_over_failures(self, before: Atlas, old: Columns, new: Columns) -> None:
        """Nodes that go on under a new declaration keep what makes them suspect."""
        rows = [(old_row, self._node_index.get(name, NONE)) for old_row, name in enumerate(before.node_names)]
        old_rows, new_rows = np.array([pair for pair in rows if pair[1] != NONE], dtype=np.int64).reshape(-1, 2).T
        for field in ("downs", "down_ms", "failures", "failure_ms", "failure_share"):
            new.nodes[field][new_rows] = old.nodes[field][old_rows]

    def node_card(self, columns: Columns, node: int, jobs: tuple[str, ...], until_ms: int | None) -> NodeCard:
        """A node for people."""
        record = columns.nodes[node]
        site, group = self._node_group[node]
        return NodeCard(
            name=self._node_names[node],
            site=site.name,
            gpu_class=group.gpu_class,
            gpus=int(record.gpus),
            free_gpus_milli=int(columns.gpu_free_milli[node].sum()),
            cpus=int(record.cpus_milli) // 1000,
            free_cpus=int(record.free_cpus_milli) // 1000,
            memory_mib=int(record.memory_mib),
            free_memory_mib=int(record.free_memory_mib),
            state=NODE_STATES[int(record.state)],
            jobs=jobs,
            until_ms=until_ms,
        )

    def share_cards(self, columns: Columns) -> list[ShareCard]:
        """Every share for people, class by class."""
        cards = []
        for class_index, class_name in enumerate(self._classes):
            root = int(columns.classes[class_index].root)
            for index, share in enumerate(self.nation.shares):
                row = root + 1 + index
                amount = self.nation.amount(share, class_name)
                record = columns.shares[row]
                cards.append(
                    ShareCard(
                        name=share.name,
                        parent=share.parent or "",
                        gpu_class=class_name,
                        depth=self._depth(columns, row),
                        weight=share.weight,
                        guarantee_milli=amount.guarantee_milli,
                        limit_milli=min(amount.limit_milli, UNLIMITED_MILLI),
                        lend_milli=min(amount.lend_milli, amount.guarantee_milli),
                        used_milli=int(record.used),
                        borrowed_milli=max(0, int(record.used) - amount.guarantee_milli),
                        lent_milli=self._lent(columns, row),
                        waiting_jobs=int(record.waiting),
                    )
                )
        return cards

    def _depth(self, columns: Columns, row: int) -> int:
        depth = -1
        at = row
        while at != NONE:
            at = int(columns.shares[at].parent)
            depth += 1
        return depth - 1

    def _lent(self, columns: Columns, row: int) -> int:
        """What siblings use of a share's idle guarantee.

        What siblings borrow comes first from capacity that is nobody's guarantee, then from those who have idle GPUs to
        lend, each in proportion to what it has; rounded down to thousandths.
        """
        parent = int(columns.shares[row].parent)
        siblings = self._children(columns, parent)
        borrowed = sum(max(0, int(columns.shares[each].used - columns.shares[each].guarantee)) for each in siblings)
        guaranteed = sum(int(columns.shares[each].guarantee) for each in siblings)
        unowned = max(0, int(columns.shares[parent].guarantee) - guaranteed)
        idle = {each: self._lendable(columns, each) for each in siblings}
        from_lenders = min(max(0, borrowed - unowned), sum(idle.values()))
        return from_lenders * idle[row] // sum(idle.values()) if idle[row] else 0

    def _lendable(self, columns: Columns, row: int) -> int:
        record = columns.shares[row]
        return max(0, min(int(record.guarantee - record.used), int(min(record.lend, UNLIMITED))))

    def _children(self, columns: Columns, row: int) -> list[int]:
        children = []
        at = int(columns.shares[row].first_child)
        while at != NONE:
            children.append(at)
            at = int(columns.shares[at].next_sibling)
        return children
