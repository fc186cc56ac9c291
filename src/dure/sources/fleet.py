"""The fleet a trace runs on: groups of equal nodes, from `72x8`, a node list or an operator's own nation file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from dure.intake.nationfile import nation_from_yaml
from dure.model.fleet import MOST_GPUS_PER_NODE, MOST_SITES, Topology
from dure.model.nation import Nation
from dure.model.units import WHOLE_GPU_MILLI
from dure.sources.errors import BadFleet
from dure.sources.limits import MOST_CPUS_MILLI, MOST_MEMORY_MIB, MOST_NODES
from dure.sources.table import read_table
from dure.sources.trace import HIGHEST_CLASS_INDEX

NO_GPU_CLASS = -1
NO_TOPOLOGY = Topology()
DEFAULT_GPU_CLASS = "GPU"
DEFAULT_CPUS_MILLI_PER_GPU = 16_000
DEFAULT_MEMORY_MIB_PER_GPU = 256 * 1024
"""What `72x8` leaves unsaid: 128 cores and 2 TiB beside eight GPUs, as in current eight-GPU servers."""

NODE_COLUMNS = ("sn", "cpu_milli", "memory_mib", "gpu", "model")

_GROUP = re.compile(
    r"(?P<count>\d{1,9})x(?:(?P<domain>\d{1,9})x)?(?P<gpus>\d{1,9})(?::(?P<gpu_class>[A-Za-z0-9][A-Za-z0-9._-]*))?"
)


@dataclass(frozen=True, kw_only=True)
class TwinNodes:
    """`count` equal nodes at one site. `class_index` is `NO_GPU_CLASS` for nodes without GPUs; amounts are per node."""

    class_index: int
    gpus: int
    count: int
    cpus_milli: int
    memory_mib: int
    site: int = 0
    names: tuple[str, ...] = ()
    """One per node, or empty where nobody named them."""
    topology: Topology = NO_TOPOLOGY

    def fits(self, gpus_milli: int, cpus_milli: int, memory_mib: int) -> bool:
        """True when one such node, empty, could hold this much."""
        return (
            gpus_milli <= self.gpus * WHOLE_GPU_MILLI
            and cpus_milli <= self.cpus_milli
            and memory_mib <= self.memory_mib
        )


@dataclass(frozen=True, kw_only=True)
class TwinFleet:
    """Groups of nodes in placement order. Raises `BadFleet` when made larger than the twin can hold."""

    name: str
    gpu_classes: tuple[str, ...]
    sites: tuple[str, ...]
    groups: tuple[TwinNodes, ...]

    def __post_init__(self) -> None:
        for rule, broken in (
            ("at least one node with a GPU", not self.gpus),
            (f"at most {HIGHEST_CLASS_INDEX + 1} GPU classes", len(self.gpu_classes) > HIGHEST_CLASS_INDEX + 1),
            (f"at most {MOST_SITES} sites", len(self.sites) > MOST_SITES),
            (f"at most {MOST_NODES:,} nodes", self.nodes > MOST_NODES),
            (f"at most {MOST_GPUS_PER_NODE} GPUs per node", self.most_gpus_per_node > MOST_GPUS_PER_NODE),
        ):
            if broken:
                raise BadFleet(f"fleet {self.name}: it must have {rule}")

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return sum(group.count for group in self.groups)

    @property
    def gpus(self) -> int:
        """Number of GPUs of all classes."""
        return sum(group.count * group.gpus for group in self.groups)

    @property
    def most_gpus_per_node(self) -> int:
        """GPUs of the largest node; what a gang is split by."""
        return max((group.gpus for group in self.groups), default=0)

    def node_names(self) -> list[str]:
        """A name for every node in placement order; `g0-0000` (group, then node) where nobody named it."""
        return [
            group.names[place] if group.names else f"g{number}-{place:04d}"
            for number, group in enumerate(self.groups)
            for place in range(group.count)
        ]

    def of_class(self, class_index: int) -> tuple[TwinNodes, ...]:
        """The groups of one GPU class."""
        return tuple(group for group in self.groups if group.class_index == class_index)

    def gpus_of_class(self, class_index: int) -> int:
        """Number of GPUs of one class."""
        return sum(group.count * group.gpus for group in self.of_class(class_index))


def read_fleet(text: str) -> TwinFleet:
    """A fleet from `72x8`, `72x8:H100+18x4:B200`, a node list (`.csv`, `.csv.gz`) or a nation file (`.yaml`, `.yml`).

    Raises `BadFleet`, `BadTrace` for a row of a node list, or `BadInput` for a nation file with mistakes.
    """
    path = Path(text)
    if path.name.removesuffix(".gz").endswith(".csv"):
        return read_node_list(path)
    if path.suffix in {".yaml", ".yml"}:
        return fleet_of_nation(nation_from_yaml(_text_of(path)), path.stem)
    return parse_fleet(text)


def parse_fleet(text: str) -> TwinFleet:
    """A fleet from its short form: groups joined by `+`, in placement order.

    A group is `NODESxGPUS` or `NODESxGPUS:CLASS`; `DOMAINSxNODESxGPUS` has NVLink domains of several nodes, such as
    `2600x18x4` for 2,600 NVL72 racks.
    """
    matches = [_GROUP.fullmatch(part.strip()) for part in text.split("+")]
    wanted = [
        (int(match["count"]), int(match["domain"] or 1), int(match["gpus"]), match["gpu_class"] or DEFAULT_GPU_CLASS)
        for match in matches
        if match
    ]
    if len(wanted) < len(matches) or any(min(count, domain, gpus) < 1 for count, domain, gpus, _ in wanted):
        raise BadFleet(
            f"{text!r} is not a fleet; write nodes x GPUs per node like 72x8 or 72x8:H100+18x4:B200, "
            "domains x nodes x GPUs like 10x18x4, "
            "or name a node list (.csv) or a nation file (.yaml)"
        )
    gpu_classes = tuple(dict.fromkeys(gpu_class for _, _, _, gpu_class in wanted))
    groups = tuple(
        TwinNodes(
            class_index=gpu_classes.index(gpu_class),
            gpus=gpus,
            count=count * domain,
            cpus_milli=gpus * DEFAULT_CPUS_MILLI_PER_GPU,
            memory_mib=gpus * DEFAULT_MEMORY_MIB_PER_GPU,
            topology=Topology(domain=domain, rack=domain, block=domain),
        )
        for count, domain, gpus, gpu_class in wanted
    )
    return TwinFleet(name=text, gpu_classes=gpu_classes, sites=("site",), groups=groups)


def read_node_list(path: Path) -> TwinFleet:
    """A fleet from an openb node list (`sn, cpu_milli, memory_mib, gpu, model`), nodes in the order of the file."""
    table = read_table(path, NODE_COLUMNS)
    gpus = table.whole_numbers("gpu", 0, MOST_GPUS_PER_NODE)
    has_model = [model != "" for model in table.columns["model"]]
    table.require((gpus > 0) == has_model, "model", "the GPU class of a node with GPUs, nothing for a node without")
    gpu_classes = tuple(dict.fromkeys(filter(None, table.columns["model"])))
    index = {"": NO_GPU_CLASS} | {name: position for position, name in enumerate(gpu_classes)}
    cpus_milli = table.whole_numbers("cpu_milli", 0, MOST_CPUS_MILLI)
    memory_mib = table.whole_numbers("memory_mib", 0, MOST_MEMORY_MIB)
    shapes = zip(
        [index[model] for model in table.columns["model"]],
        gpus.tolist(),
        cpus_milli.tolist(),
        memory_mib.tolist(),
        strict=True,
    )
    return TwinFleet(
        name=path.name,
        gpu_classes=gpu_classes,
        sites=("site",),
        groups=tuple(_runs(table.columns["sn"], list(shapes))),
    )


def fleet_of_nation(nation: Nation, name: str = "nation") -> TwinFleet:
    """The fleet an operator declared, sites and node groups in the order of the declaration."""
    gpu_classes = tuple(each.name for each in nation.gpu_classes)
    sites = tuple(site.name for site in nation.sites)
    return TwinFleet(
        name=name,
        gpu_classes=gpu_classes,
        sites=sites,
        groups=tuple(
            TwinNodes(
                class_index=gpu_classes.index(group.gpu_class) if group.gpu_class else NO_GPU_CLASS,
                gpus=group.gpus,
                count=group.count,
                cpus_milli=group.cpus * 1000,
                memory_mib=group.memory_mib,
                site=sites.index(site.name),
                names=tuple(group.node_names()),
                topology=group.topology,
            )
            for site, group in nation.node_groups()
        ),
    )


def _runs(names: Sequence[str], shapes: Sequence[tuple[int, int, int, int]]) -> Iterator[TwinNodes]:
    """Neighbours of the same shape as one group, so that the order of nodes, on which ties depend, is the file's."""
    for shape, rows in groupby(range(len(shapes)), key=shapes.__getitem__):
        members = tuple(names[row] for row in rows)
        class_index, gpus, cpus_milli, memory_mib = shape
        yield TwinNodes(
            class_index=class_index,
            gpus=gpus,
            count=len(members),
            cpus_milli=cpus_milli,
            memory_mib=memory_mib,
            names=members,
        )


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadFleet(f"{path}: this is not text in UTF-8; a nation file is") from None
    except OSError as error:
        raise BadFleet(f"{path}: the fleet's file cannot be read ({error.strerror})") from None
