"""Chapter 4: a job on two nodes starts on both or on none, and its ranks find each other."""

from __future__ import annotations

import re

from dure.demo.chapters import jobs
from dure.demo.story import Proof, Story, WatchedJob
from dure.model.jobs import JobState
from dure.reports.wording import short_reason

GPU_CLASS = "GB200"
OTHER_WORKS_S = 4.0
GANG_WORKS_S = 3.0

_DIGEST = re.compile(r"^rank \d+ finished: .* weights (?P<weights>[0-9a-f]+)$")


def start_whole(story: Story) -> Proof:
    """While one of the two nodes it needs is in use, a gang holds nothing; then both ranks start at once."""
    story.teller.say(
        f"Hyundai uses 2 of the 4 {GPU_CLASS} of a node at Ulsan. Garam University wants 3 GPUs on each of two nodes: "
        "one would have room, but half a gang is worth nothing."
    )
    document = jobs.training(
        "lane-keeping", "driving-model", f"{GPU_CLASS}:2", story.steps_for(OTHER_WORKS_S), seed=5, reports=4
    )
    other = story.submit("hyundai", document)
    story.until(f"{other.id} runs", lambda: other.state is JobState.RUNNING, other)
    steps = story.steps_for(GANG_WORKS_S)
    gang = story.submit("garam", jobs.gang("speech-model", "garam-speech", f"{GPU_CLASS}:3", nodes=2, steps=steps))
    reason = _while_it_waits(story, gang)
    story.until(f"{gang.id} runs", lambda: gang.state is JobState.RUNNING, gang)
    story.expect("the gang started on two nodes", 2, len({each.node for each in gang.report.placements}))
    story.until(f"{gang.id} is done", lambda: gang.is_over, gang)
    story.expect("the gang succeeded", "succeeded", gang.state.value)
    digests = [found["weights"] for found in (_DIGEST.search(line.text) for line in gang.lines) if found]
    story.require(
        "both ranks ended with equal weights",
        len(digests) == 2 and len(set(digests)) == 1,
        "two equal digests",
        " and ".join(digests) or "none",
    )
    return Proof("2 ranks or none; gradients averaged over sockets", f"{steps:,} exchanges; waited: {reason}")


def _while_it_waits(story: Story, gang: WatchedJob) -> str:
    """Check that a waiting gang holds nothing and knows why; returns the first reason."""
    why = gang.member.why(gang.id)
    story.require(
        "the gang waits and says why", bool(why.blockers), "at least one blocker", f"state {why.state}, no blocker"
    )
    story.expect("no rank of it has started", 0, len(gang.member.job(gang.id).placements))
    story.tell_why(gang)
    return short_reason(why.blockers[0])
