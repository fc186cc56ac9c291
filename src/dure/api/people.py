"""Operations on people: forgetting one."""

from __future__ import annotations

import asyncio

from dure.api.operations import Call
from dure.api.platform import Platform
from dure.api.problems import problem
from dure.api.replies import done
from dure.control.people import ForgetPerson, Traces
from dure.control.requests import Answer


async def forget(platform: Platform, call: Call) -> Answer:
    """Erase all that is personal about somebody, named by account id or by name, and accept their tokens no longer.

    Entries of the ledger stay, with opaque ids. Jobs of theirs that are not over must be cancelled first.
    """
    traces = Traces(_account_of(platform, call.path("person")))
    # Reading the whole ledger takes a second per million entries; what comes meanwhile is read in the step itself.
    traces = await asyncio.to_thread(lambda: traces.after(platform.control.ledger.entries()))
    return done(await platform.ask(ForgetPerson(caller=call.caller, traces=traces)))


def _account_of(platform: Platform, person: str) -> str:
    """Somebody's id. An account that was removed before is still known by its id."""
    accounts = platform.control.memory.accounts
    named = [each.id for each in accounts.all() if each.name == person]
    if accounts.get(person) is not None or not named:
        return person
    if len(named) > 1:
        message = f"{len(named)} accounts are called {person}: {', '.join(named)}. Name one by its id."
        raise problem(409, "ambiguous-person", message)
    return named[0]
