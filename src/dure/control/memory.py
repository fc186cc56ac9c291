"""Everything the loop keeps in memory, all of it made from the ledger, so that it can be thrown away at any time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from msgspec import Struct

from dure.control.accounts import Accounts
from dure.control.history import History
from dure.control.ports import Ledger, RandomBytes
from dure.control.specs import Specs
from dure.control.tokens import Tokens
from dure.control.vault import Secrets, Vault
from dure.intake.nation_index import NationIndex
from dure.model.events import JobSubmitted
from dure.policy import PolicyInForce, PolicySet

MOST_LIKENESSES = 10_000


class RandomStreams(Struct, frozen=True, kw_only=True):
    """One random stream per purpose, so that one more token changes no salt."""

    salts: RandomBytes
    tokens: RandomBytes
    nonces: RandomBytes


class Memory:
    """World, books, totals, tokens, specs and counters as of the ledger's last entry."""

    def __init__(
        self, ledger: Ledger, policy_set: PolicySet, vault_key: bytes, random: RandomStreams, history: History
    ) -> None:
        for entry in ledger.entries(history.position):
            history.take_in(entry)
        self.history = history
        self.ledger = ledger
        self.random = random
        self.world = history.world
        self.books = history.books
        self.lending = history.lending
        self.outputs = history.outputs
        self.register = history.register
        self.specs = Specs(ledger, random.salts)
        self.vault = Vault(vault_key, random.nonces)
        self.secrets = Secrets(ledger, self.vault)
        self.tokens = Tokens(ledger.rows("tokens"))
        self.accounts = Accounts(ledger.rows("accounts"))
        self._policy_set = policy_set
        self._all_were_asked = False
        """After a start all are asked again, for the shipped rules may be others than before."""
        self._bind(history.latest_ms)

    def bind_policy(self, now_ms: int) -> bool:
        """Have intake and policy judge by what is known now; True when that is not what it was the last time."""
        is_the_same = self._nation is self.world.nation and self._version == self.register.version
        until_ms = self.policy.next_change_ms
        if self._all_were_asked and is_the_same and (until_ms is None or now_ms < until_ms):
            return False
        self._bind(now_ms)
        self._all_were_asked = True
        return True

    def _bind(self, now_ms: int) -> None:
        self._nation, self._version = self.world.nation, self.register.version
        self.nation_index = NationIndex(self._nation)
        self.policy = PolicyInForce(
            self.policy_set_with(self.register.policies),
            self._nation,
            self.register.agreements.values(),
            self.register.stop_orders.values(),
            now_ms,
        )
        self.accepted: dict[Hashable, JobSubmitted] = {}
        """A job of each likeness that was accepted under these facts."""

    def policy_set_with(self, policies: Sequence[tuple[str, str]]) -> PolicySet:
        """The shipped rules with these of the programme's own. Raises `PolicyError` when they cannot be used."""
        return self._policy_set.with_own(policies)

    def remember_accepted(self, alike: Hashable, event: JobSubmitted) -> None:
        """Jobs like this one are accepted as it was, until the nation changes."""
        if len(self.accepted) >= MOST_LIKENESSES:
            self.accepted.clear()
        self.accepted[alike] = event

    def upcoming_job(self) -> str:
        """The id that the next job will have."""
        return f"j{self.history.jobs_made + 1}"

    def next_job(self) -> str:
        """The id of the next job: `j1`, `j2`, ..."""
        self.history.jobs_made += 1
        return f"j{self.history.jobs_made}"

    def take_back_job(self, job: str) -> None:
        """The id was not used: the job was refused. Only for the id given out last."""
        self.specs.remove(job)
        self.history.jobs_made -= 1

    def next_token(self) -> str:
        """The opaque id of the next token: `t1`, `t2`, ..."""
        self.history.tokens_made += 1
        return f"t{self.history.tokens_made}"

    def false_starts(self, job: str) -> int:
        """How often in a row an engine could not start the job."""
        return self.history.false_starts.get(job, 0)
