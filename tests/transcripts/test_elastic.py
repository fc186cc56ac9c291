"""A real elastic job on the local engine: it gives a node back, goes on at its very step, and grows again."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.transcripts.platform import FILES, Platform, running_platform

PATIENCE_S = 30

ELASTIC = """
name: learn
project: kaist-protein
gpus: H100:4
nodes: 2
min_nodes: 1
checkpoint: {every: 1h, signal: USR1}
script: |
  step=$(cat "$DURE_CHECKPOINT_DIR/step" 2>/dev/null || echo 0)
  save() {
    echo "$step" > "$DURE_CHECKPOINT_DIR/step"; echo "saved step $step"; exit 75
  }
  if [ "$NODE_RANK" = 0 ]; then trap save USR1; else trap true USR1; fi
  echo "begins at step $step with $NNODES nodes"
  while true; do step=$((step + 1)); sleep 0.02; done
"""
DEMAND = "{name: demand, project: hanbit-llm, gpus: H100:4, command: exec tail -f /dev/null}"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running_platform(tmp_path_factory.mktemp("elastic")) as running:
        (running.folder / "learn.yaml").write_text(ELASTIC)
        (running.folder / "demand.yaml").write_text(DEMAND)
        running.dure("apply", "-f", str(FILES / "nation.yaml"))
        yield running


def said(platform: Platform, attempt: int, what: str, rank: int = 0) -> re.Match[str]:
    """The first words of an attempt's rank that match, once it has said them."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        which = ("--attempt", str(attempt), "--rank", str(rank))
        log = platform.dure("logs", "j1", *which) if attempts(platform) >= attempt else ""
        if (match := re.search(what, log)) is not None:
            return match
        assert time.monotonic() < deadline, f"attempt {attempt} never said {what}:\n{log}\n{platform.dure('why', 'j1')}"
        time.sleep(0.1)


def line(platform: Platform, job: str) -> dict[str, Any]:
    jobs: list[dict[str, Any]] = json.loads(platform.dure("queue", "--all", "--json"))["jobs"]
    return next(each for each in jobs if each["job"] == job)


def attempts(platform: Platform) -> int:
    attempt: int = line(platform, "j1")["attempt"]
    return attempt


def test_an_elastic_job_shrinks_by_reclaim_goes_on_at_its_very_step_and_grows_again(platform: Platform) -> None:
    assert "with 2 of up to 2 nodes" in platform.dure("plan", "learn.yaml")
    platform.dure("submit", "learn.yaml")
    for rank in range(2):
        # Whoever is warned before its trap is set dies of the signal.
        said(platform, 1, r"begins at step 0 with 2 nodes", rank)
    platform.dure("submit", "demand.yaml")
    platform.wait_for("j2", "running")
    saved = said(platform, 1, r"saved step (\d+)")[1]
    assert said(platform, 2, r"begins at step (\d+) with 1 nodes")[1] == saved
    assert (line(platform, "j1")["nodes"], line(platform, "j1")["preemptions"]) == (1, 1)
    assert "has 1 of up to 2 nodes" in platform.dure("why", "j1")
    platform.dure("cancel", "j2")
    saved = said(platform, 2, r"saved step (\d+)")[1]
    assert said(platform, 3, r"begins at step (\d+) with 2 nodes")[1] == saved
    assert "more nodes" in platform.dure("why", "j1")
    assert line(platform, "j1")["preemptions"] == 1
    platform.dure("cancel", "j1")
