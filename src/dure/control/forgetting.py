"""Forgetting a person: everything that says who an opaque id was is erased, and the ledger stays as it is.

Erased are the account (name, roles, link to the identity provider, password), its tokens with the times of their use,
what its jobs ran with the salts of the commitments, and the answers kept under its idempotency keys. What remains are
entries with opaque ids, which nobody can turn back into a person any more.
"""

from __future__ import annotations

from dure.control.draft import Draft
from dure.control.granting import no_such_account, revoke_all_of
from dure.control.memory import Memory
from dure.control.people import ForgetPerson, Forgotten, Traces
from dure.control.ports import Row
from dure.control.requests import NotDone, NotDoneCode, Reply
from dure.model.events import encode_all
from dure.model.oversight import PersonForgotten

MOST_NAMED = 10


def forget_person(request: ForgetPerson, memory: Memory, draft: Draft) -> Reply:
    """Erase what is personal, or say why not. Jobs that are not over still need what they run."""
    found = request.traces.after(memory.ledger.entries(request.traces.read_to)).after(encode_all(draft.events))
    known = memory.accounts.get(found.account)
    if known is None and not found.is_known:
        return no_such_account(found.account)
    active = _not_over(found, draft)
    if active:
        named = ", ".join(active[:MOST_NAMED]) + (" and others" if len(active) > MOST_NAMED else "")
        message = f"{named} of {found.account} wait or run; cancel them or let them end, then ask again."
        return NotDone(code=NotDoneCode.JOBS_NOT_OVER, message=message)
    revoke_all_of(found.account, request.caller.id, memory, draft)
    if known is not None:
        draft.rows.append(memory.accounts.remove(found.account))
    draft.rows.extend(memory.specs.erase(job) for job in found.jobs)
    draft.rows.extend(_kept_answers(found, memory))
    draft.record(PersonForgotten(at_ms=draft.now_ms, account=found.account, by=request.caller.id, jobs=len(found.jobs)))
    return Forgotten(account=found.account, jobs=len(found.jobs))


def _not_over(found: Traces, draft: Draft) -> list[str]:
    cards = ((job, draft.world.card_of(job)) for job in found.jobs)
    return [job for job, card in cards if card is not None and not card.state.is_final]


def _kept_answers(found: Traces, memory: Memory) -> list[Row]:
    """An answer's row has a digest of what was submitted, against which a guess could be tried."""
    kept = [key for token in sorted(found.tokens) for key, _ in memory.ledger.rows("requests", f"{token}:")]
    return [Row("requests", key, None) for key in kept]
