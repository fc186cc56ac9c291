"""Chapter 6: the ledger is verified from its entries to the signed root, without asking the server."""

from __future__ import annotations

import time
from collections import Counter

from dure.bootstrap import LEDGER_FILE
from dure.demo.story import Proof, Story
from dure.ledger.keys import load_verifier_key
from dure.ledger.sqlite import read_stored
from dure.ledger.verify import verify
from dure.model.events import AccessRefused, AttemptEnded, Event, JobSubmitted, decode
from dure.model.jobs import Outcome

KEY_FILE = "ledger.pub"


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
    story.expect("jobs accepted", 4, counted["accepted"])
    story.expect("attempts that succeeded", 4, counted[Outcome.SUCCEEDED])
    story.expect("attempts that yielded to an owner", 1, counted[Outcome.PREEMPTED])
    story.expect("requests refused by a rule", 2, counted["refused"])
    return Proof(
        "nothing was changed, left out or added", f"{verdict.size} entries at {verdict.size / seconds:,.0f} entries/s"
    )


def _what_matters(event: Event) -> str:
    match event:
        case JobSubmitted():
            return "accepted"
        case AttemptEnded():
            return event.outcome
        case AccessRefused():
            return "refused"
        case _:
            return ""
