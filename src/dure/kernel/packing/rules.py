"""The placement rules by number: what a node costs, and which GPUs of it a job takes."""

from __future__ import annotations

from dure.kernel.packing.best_fit import best_fit_cost
from dure.kernel.packing.dot_product import dot_product_cost
from dure.kernel.packing.fragmentation import (
    fragmentation_cost,
    fragmentation_cost_of_gpus,
    least_fragmenting_gpu,
)
from dure.kernel.packing.gpu_clustering import gpu_clustering_cost
from dure.kernel.packing.gpu_packing import gpu_packing_cost
from dure.kernel.packing.room import least_free_gpu
from dure.kernel.packing.slots import slots_cost, slots_cost_of_gpus, slots_gpu
from dure.world.columns import PLACE_BEST_FIT, PLACE_FRAGMENTATION, PLACE_SLOTS, Columns, Records
from dure.world.compiled import compiled

RANDOM, DOT_PRODUCT, GPU_CLUSTERING, GPU_PACKING = range(4)
BEST_FIT, FRAGMENTATION, SLOTS = PLACE_BEST_FIT, PLACE_FRAGMENTATION, PLACE_SLOTS
RULES = {
    "random": RANDOM,
    "dotprod": DOT_PRODUCT,
    "clustering": GPU_CLUSTERING,
    "packing": GPU_PACKING,
    "bestfit": BEST_FIT,
    "fgd": FRAGMENTATION,
    "dure": SLOTS,
}
"""Names as people write them."""


@compiled
def cost(rule: int, mix: Records, shapes: int, columns: Columns, job: int, node: int) -> int:
    """What it costs to put a job on a node that has room for it; lowest wins. At random, all cost the same."""
    if rule == SLOTS:
        return slots_cost(columns, job, node)
    if rule == FRAGMENTATION:
        return fragmentation_cost(mix, shapes, columns, job, node)
    if rule == BEST_FIT:
        return best_fit_cost(columns, job, node)
    if rule == GPU_PACKING:
        return gpu_packing_cost(columns, job, node)
    if rule == GPU_CLUSTERING:
        return gpu_clustering_cost(columns, job, node)
    if rule == DOT_PRODUCT:
        return dot_product_cost(columns, job, node)
    return 0


@compiled
def cost_of_gpus(rule: int, mix: Records, shapes: int, columns: Columns, job: int, node: int, mask: int) -> int:
    """What it costs to take these GPUs of a node, for the rules that tell one GPU from another."""
    if rule == SLOTS:
        return slots_cost_of_gpus(columns, job, node, mask)
    return fragmentation_cost_of_gpus(mix, shapes, columns, job, node, mask)


@compiled
def gpu_for_part(rule: int, mix: Records, shapes: int, columns: Columns, job: int, node: int) -> int:
    """The GPU of a node for a job that wants a part of one; the fullest that has enough unless the rule has its own."""
    if rule == SLOTS:
        return slots_gpu(columns, job, node)
    if rule == FRAGMENTATION:
        return least_fragmenting_gpu(mix, shapes, columns, job, node)
    return least_free_gpu(columns, node, columns.jobs[job].gpus_milli)
