"""How a job of some number of GPUs can run on a fleet: one shape for each GPU class that has room for it."""

from __future__ import annotations

from dataclasses import dataclass

from dure.model.units import WHOLE_GPU_MILLI
from dure.sources.fit import holds
from dure.sources.fleet import TwinFleet
from dure.sources.trace import MOST_CHOICES, nodes_for, pack_choices


@dataclass(frozen=True)
class Shape:
    """How a job of some size runs on one GPU class: its gang, and the choices of a picky and of any other job."""

    class_index: int
    nodes: int
    gpus_milli: int
    only_this: int
    this_first: int


def shapes_on(fleet: TwinFleet, gpus: int, least_class_to_gang: int) -> list[Shape]:
    """The gang of so many GPUs on every class that could run it and is so many times larger."""
    shapes = []
    for class_index in range(len(fleet.gpu_classes)):
        groups = fleet.of_class(class_index)
        if not groups or fleet.gpus_of_class(class_index) < gpus * least_class_to_gang:
            continue
        nodes = nodes_for(gpus, max(group.gpus for group in groups))
        gpus_milli = gpus // nodes * WHOLE_GPU_MILLI
        if holds(groups, nodes, gpus_milli, 0, 0):
            others = [
                other
                for other in range(len(fleet.gpu_classes))
                if other != class_index and holds(fleet.of_class(other), nodes, gpus_milli, 0, 0)
            ]
            any_class = pack_choices([class_index, *others[: MOST_CHOICES - 1]])
            shapes.append(Shape(class_index, nodes, gpus_milli, pack_choices([class_index]), any_class))
    return shapes
