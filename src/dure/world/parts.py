"""GPUs in use by parts, indexed by what is left of them, so that the next part finds its GPU in a few steps.

A GPU is whole (idle, or all one job's), shared in thousandths, or cut into MIG slices. The *level* of one in parts is
what is free of it, in thousandths, or `CUT` plus the mask of its memory slices in use. Each GPU class has a set of
nodes for each level that one of their GPUs has, and the set of levels whose set is not empty. Positions in these sets
count from the class's first node; nodes that are out of service are in none.
"""

from __future__ import annotations

from dure.world import node_sets
from dure.world.columns import NODE_UP, NONE, WHOLE, WORD_BITS, Columns
from dure.world.compiled import compiled, entry_point

CUT = WHOLE
SLICES = 8
ALL_SLICES = (1 << SLICES) - 1
LEVELS = CUT + ALL_SLICES + 1

_Sizes = tuple[int, int, int, int]


@compiled
def _sizes(count: int) -> _Sizes:
    """Words per level of a set over so many members: as `building.set_sizes`."""
    first = max(1, (count + WORD_BITS - 1) // WORD_BITS)
    second = (first + WORD_BITS - 1) // WORD_BITS
    third = (second + WORD_BITS - 1) // WORD_BITS
    return first, second, third, (third + WORD_BITS - 1) // WORD_BITS


@compiled
def _words(count: int) -> int:
    sizes = _sizes(count)
    return sizes[0] + sizes[1] + sizes[2] + sizes[3]


@entry_point
def words_for(nodes: int) -> int:
    """Words of the index of a class with so many nodes."""
    return _words(LEVELS) + LEVELS * _words(nodes)


@compiled
def _set_of(columns: Columns, gpu_class: int, level: int) -> int:
    """Where the set of a level begins."""
    record = columns.classes[gpu_class]
    return record.first_part_word + _words(LEVELS) + level * _words(record.node_count)


@compiled
def level_of(columns: Columns, node: int, gpu: int) -> int:
    """The level of a GPU: 0 when nothing is left of it, `WHOLE` when it is idle; neither is indexed."""
    slices = columns.gpu_slices[node, gpu]
    return CUT + slices if slices != 0 else columns.gpu_free_milli[node, gpu]


@compiled
def _is_indexed(level: int) -> bool:
    return level > 0 and level != WHOLE


@compiled
def _add(columns: Columns, gpu_class: int, node: int, level: int) -> None:
    record = columns.classes[gpu_class]
    base = _set_of(columns, gpu_class, level)
    node_sets.add(columns.part_sets, base, _sizes(record.node_count), node - record.first_node)
    node_sets.add(columns.part_sets, record.first_part_word, _sizes(LEVELS), level)


@compiled
def _remove(columns: Columns, gpu_class: int, node: int, level: int) -> None:
    record = columns.classes[gpu_class]
    sizes = _sizes(record.node_count)
    base = _set_of(columns, gpu_class, level)
    node_sets.remove(columns.part_sets, base, sizes, node - record.first_node)
    if columns.part_sets[base + sizes[0] + sizes[1] + sizes[2]] == 0:
        node_sets.remove(columns.part_sets, record.first_part_word, _sizes(LEVELS), level)


@compiled
def gpu_at(columns: Columns, node: int, level: int) -> int:
    """The lowest GPU of a node at a level; NONE if none is."""
    for gpu in range(columns.nodes[node].gpus):
        if level_of(columns, node, gpu) == level:
            return gpu
    return NONE


@compiled
def set_left(columns: Columns, node: int, gpu: int, free_milli: int, slices: int) -> None:
    """Change what is left of a GPU in parts: thousandths, and the mask of its memory slices in use."""
    before = level_of(columns, node, gpu)
    columns.gpu_free_milli[node, gpu] = free_milli
    columns.gpu_slices[node, gpu] = slices
    after = level_of(columns, node, gpu)
    if columns.nodes[node].state != NODE_UP:
        return
    gpu_class = columns.pools[columns.nodes[node].pool].gpu_class
    if _is_indexed(before) and gpu_at(columns, node, before) == NONE:
        _remove(columns, gpu_class, node, before)
    if _is_indexed(after):
        _add(columns, gpu_class, node, after)


@compiled
def index_node(columns: Columns, node: int, in_service: bool) -> None:
    """Bring a node's GPUs in parts into the index, or take them out."""
    record = columns.nodes[node]
    if record.shared == 0:
        return
    gpu_class = columns.pools[record.pool].gpu_class
    for gpu in range(record.gpus):
        level = level_of(columns, node, gpu)
        if _is_indexed(level) and in_service:
            _add(columns, gpu_class, node, level)
        elif _is_indexed(level):
            _remove(columns, gpu_class, node, level)


@entry_point
def next_level(columns: Columns, gpu_class: int, level: int) -> int:
    """The first level from this one on at which some GPU of a class is, or NONE."""
    base = columns.classes[gpu_class].first_part_word
    return node_sets.first_from(columns.part_sets, base, _sizes(LEVELS), level)


@entry_point
def next_node_at(columns: Columns, gpu_class: int, level: int, node: int) -> int:
    """The first node of a class from this one on with a GPU at a level, or NONE."""
    record = columns.classes[gpu_class]
    base = _set_of(columns, gpu_class, level)
    position = max(0, node - record.first_node)
    found = node_sets.first_from(columns.part_sets, base, _sizes(record.node_count), position)
    return NONE if found == NONE else record.first_node + found
