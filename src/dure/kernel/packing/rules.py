"""The placement rules by number: what a node costs, and which GPUs of it a job takes."""

from __future__ import annotations

from dure.kernel.packing.best_fit import best_fit_cost
from dure.kernel.packing.dot_product import dot_product_cost
from dure.kernel.packing.fragmentation import fragmentation_cost, least_fragmenting_gpu
from dure.kernel.packing.gpu_clustering import gpu_clustering_cost
from dure.kernel.packing.gpu_packing import gpu_packing_cost
from dure.kernel.packing.room import least_free_gpu
from dure.kernel.packing.slots import slots_cost, slots_gpu
from dure.world.columns import Columns, Records
from dure.world.compiled import compiled

RANDOM, DOT_PRODUCT, GPU_CLUSTERING, GPU_PACKING, BEST_FIT, FRAGMENTATION, SLOTS = range(7)
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
def gpu_for_part(rule: int, mix: Records, shapes: int, columns: Columns, job: int, node: int) -> int:
    """The GPU of a node for a job that wants a part of one; the fullest that has enough unless the rule has its own."""
    if rule == SLOTS:
        return slots_gpu(columns, job, node)
    if rule == FRAGMENTATION:
        return least_fragmenting_gpu(mix, shapes, columns, job, node)
    return least_free_gpu(columns, node, columns.jobs[job].gpus_milli)
