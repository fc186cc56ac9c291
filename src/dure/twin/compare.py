"""Several policies on one workload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dure.twin.run import Progress, RunReport, run_scene
from dure.twin.scene import Scene


def compare(
    scene: Scene, policies: Sequence[str], *, seed: int = 0, audit: bool = False, progress: Progress | None = None
) -> Iterator[RunReport]:
    """Run the same fleet, shares and trace under each policy in turn.

    Raises `BadSource` when a policy refuses every job.
    """
    for policy in policies:
        yield run_scene(replace(scene, policy=policy), seed=seed, audit=audit, progress=progress)
