"""Chapter 6: the ledger is verified from its entries to the signed root, without asking the server."""

from __future__ import annotations

import time
from collections import Counter

from dure.bootstrap import LEDGER_FILE
from dure.demo.story import Proof, Story
from dure.ledger.keys import load_verifier_key
from dure.ledger.sqlite import read_stored
from dure.ledger.verify import verify
from dure.model.event import Event
from dure.model.events import AccessRefused, AttemptEnded, JobSubmitted, decode
from dure.model.jobs import JobState, Outcome

KEY_FILE = "ledger.pub"
ACCEPTED, REFUSED = "accepted jobs", "requests refused by a rule"
SUCCEEDED, YIELDED = "attempts that succeeded", "attempts that yielded to an owner"
ENDINGS = {Outcome.SUCCEEDED: SUCCEEDED, Outcome.PREEMPTED: YIELDED}


def verify_ledger(story: Story) -> Proof:
    """Recompute the tree, compare it with every checkpoint, and find in it what the members saw."""
    story.teller.say(
        "An auditor recomputes the ledger from its file. All it believes is the public key, and the checkpoint it kept "
        "before the story began."
    )
    file = story.server.state / LEDGER_FILE
    key = load_verifier_key(story.server.state / KEY_FILE)
    began = time.perf_counter()
    with read_stored(file) as log:
        verdict = verify(log, key, [story.first_checkpoint])
    seconds = time.perf_counter() - began
    faults = "; ".join(fault.message for fault in verdict.faults)
    story.require("every entry is under a signed root", verdict.is_sound, "no fault", faults)
    with read_stored(file) as log:
        counted = Counter(map(_what_matters, (decode(body) for batch in log.entries() for _, body in batch)))
    lines = [watched.report.line for watched in story.jobs]
    seen = {
        ACCEPTED: len(lines),
        SUCCEEDED: sum(line.state is JobState.SUCCEEDED for line in lines),
        YIELDED: sum(line.preemptions or 0 for line in lines),
        REFUSED: story.refusals,
    }
    for what, number in seen.items():
        story.expect(f"it has as many {what} as the members saw: {number}", number, counted[what])
    return Proof(
        "nothing was changed, left out or added", f"{verdict.size} entries at {verdict.size / seconds:,.0f} entries/s"
    )


def _what_matters(event: Event) -> str:
    match event:
        case JobSubmitted():
            return ACCEPTED
        case AttemptEnded():
            return ENDINGS.get(event.outcome, "")
        case AccessRefused():
            return REFUSED
        case _:
            return ""
