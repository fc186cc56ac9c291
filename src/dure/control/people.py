"""What the ledger says about one person: their tokens and the jobs submitted with them, found to be forgotten."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from dure.control.access import Caller


class _Said(Struct):
    """The fields of an entry that may be about a person."""

    event: str
    account: Any = ""
    token: Any = ""
    job: Any = ""
    by: Any = ""


_SAID = msgspec.json.Decoder(_Said)


class Traces(Struct, frozen=True):
    """What was found of an account in the first `read_to` entries."""

    account: str
    read_to: int = 0
    is_known: bool = False
    tokens: frozenset[str] = frozenset()
    jobs: tuple[str, ...] = ()

    def after(self, entries: Iterable[bytes]) -> Traces:
        """What is found when the next entries are read as well."""
        read_to, is_known = self.read_to, self.is_known
        tokens, jobs = set(self.tokens), list(self.jobs)
        for said in map(_SAID.decode, entries):
            read_to += 1
            match said.event:
                case "account-added" if said.account == self.account:
                    is_known = True
                case "token-issued" if said.account == self.account:
                    is_known = True
                    tokens.add(said.token)
                case "job-submitted" if said.by in tokens:
                    jobs.append(said.job)
        return Traces(self.account, read_to, is_known, frozenset(tokens), tuple(jobs))


class ForgetPerson(Struct, frozen=True, kw_only=True):
    """Erase all that is personal about an account. `traces` is what was found so far; the rest is read in the step."""

    caller: Caller
    traces: Traces


class Forgotten(Struct, frozen=True, kw_only=True):
    """Somebody was forgotten; what so many of their jobs ran was erased."""

    account: str
    jobs: int
