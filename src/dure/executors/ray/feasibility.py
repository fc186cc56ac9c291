"""Can the cluster ever run this? Ray does not say: it keeps waiting for what will never be there."""

from __future__ import annotations

from collections.abc import Sequence

from dure.executors.contract import Launch
from dure.executors.ray.api import RayNode
from dure.executors.ray.site import RaySite

_MEBIBYTE = 1 << 20
Bundle = dict[str, float]
"""What one rank is given, in Ray's words."""


def bundles(launch: Launch, site: RaySite) -> list[Bundle]:
    """What each rank is given."""
    return [_bundle(launch, site, len(placement.gpus)) for placement in launch.placements]


def shortage(wanted: Sequence[Bundle], nodes: Sequence[RayNode], site: RaySite) -> str:
    """Why the cluster could not run these ranks even if nothing else ran; empty when it could."""
    free = [dict(node.resources_total) for node in nodes]
    for bundle in sorted(wanted, key=lambda each: -sum(each.values())):
        room = next((node for node in free if _fits(bundle, node)), None)
        if room is None:
            return f"the cluster can never give {_in_words(wanted, site)}; it has {_nodes_in_words(nodes)}"
        if site.spread:
            free.remove(room)
        else:
            for name, amount in bundle.items():
                room[name] -= amount
    return ""


def _bundle(launch: Launch, site: RaySite, gpus: int) -> Bundle:
    accelerator = site.accelerators.get(launch.gpu_class, "") if gpus else ""
    bundle = {
        "CPU": float(launch.cpus),
        "GPU": float(gpus),
        "memory": float(launch.memory_mib * _MEBIBYTE),
        # Ray gives each node one of its accelerator type, and asks for a thousandth of it to mean "on such a node".
        f"accelerator_type:{accelerator}": 0.001 if accelerator else 0.0,
    }
    # Ray takes no bundle that asks for nothing.
    return {name: amount for name, amount in bundle.items() if amount} or {"CPU": 0.001}


def _fits(bundle: Bundle, node: dict[str, float]) -> bool:
    return all(node.get(name, 0.0) >= amount for name, amount in bundle.items())


def _in_words(wanted: Sequence[Bundle], site: RaySite) -> str:
    each = ", ".join(f"{amount:g} {name}" for name, amount in wanted[0].items())
    if len(wanted) == 1:
        return each
    return f"{each} to each of {len(wanted)} ranks" + (" on nodes of their own" if site.spread else "")


def _nodes_in_words(nodes: Sequence[RayNode]) -> str:
    if not nodes:
        return "no node in service"
    gpus = sorted((node.resources_total.get("GPU", 0.0) for node in nodes), reverse=True)
    return f"{len(nodes)} nodes with {', '.join(f'{each:g}' for each in gpus[:10])} GPUs"
