"""What can happen: the entries of the ledger.

An event holds no personal data and no secret: people and job contents appear as opaque ids and salted commitments.
Fields at their default are left out, so that a field added later does not change the bytes of what is already written.
Its canonical bytes are JSON with sorted keys and integers only; the bytes that were hashed are the bytes that are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from dure.model.event import Event
from dure.model.jobs import ArrayRange, Outcome, Replicas
from dure.model.nation import Nation
from dure.model.oversight import OversightEvent
from dure.model.plan import Plan


class NationApplied(Event, frozen=True, kw_only=True, omit_defaults=True, tag="nation-applied"):
    """An operator declared a new state of fleet, organisations, shares and datasets."""

    by: str
    nation: Nation


# There may be millions, and none is ever part of a cycle: the garbage collector need not look at them.
class JobSubmitted(Event, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag="job-submitted"):
    """A job was accepted. What it runs is kept elsewhere, under `commitment` (hex SHA-256 of salt and body)."""

    job: str
    project: str
    by: str
    commitment: str
    gpus: tuple[tuple[str, int], ...]
    """Wanted class and thousandths of a GPU per node, in order of preference."""
    nodes: int
    cpus: int
    memory_mib: int
    time_ms: int
    within: str
    priority: int
    preemptible: bool
    checkpoint_every_ms: int
    retry_limit: int
    retry_backoff_ms: int
    depends: tuple[str, ...]
    data: tuple[str, ...]
    purpose: str
    sites: tuple[str, ...]
    """Where policy lets it run."""
    saves_when_warned: bool = False
    """It asked for a signal at a warning, upon which it saves its work: reclaiming it loses nothing."""
    not_before_ms: int = 0
    not_after_ms: int = 0
    deadline_ms: int = 0
    """When it may start, as in `JobSpec`; 0 for no such bound."""
    mig: tuple[str, ...] = ()
    """The MIG profile wanted of each class in `gpus`, in the same order; empty for a job without MIG."""
    array: ArrayRange | None = None
    """It is an array: its tasks are `{job}_{number}`, and begin without another event than their first start."""
    replicas: Replicas | None = None
    """It is a service: its replicas are `{job}_{number}`, numbered upwards. `time_ms` is 0: it has no time limit."""
    min_nodes: int = 0
    """It is elastic: it runs with so many nodes at least, and `nodes` at most; 0 for one that always wants `nodes`."""
    agreements: tuple[str, ...] = ()
    """The agreements by which it may read its data, where the data's owner granted it in no other way."""


class AccessRefused(Event, frozen=True, kw_only=True, omit_defaults=True, tag="access-refused"):
    """Policy refused a request. `rules` are the ids of the rules that forbade it."""

    by: str
    project: str
    data: tuple[str, ...]
    purpose: str
    rules: tuple[str, ...]


class TooLate(StrEnum):
    """Which of a job's own dates it can no longer keep."""

    TO_START = "not-after"
    FOR_DEADLINE = "deadline"


class CancelRequested(Event, frozen=True, kw_only=True, omit_defaults=True, tag="cancel-requested"):
    """Someone wants a job gone. The platform itself does when it is too late for a date, or no longer allowed."""

    job: str
    by: str
    too_late: TooLate | None = None
    rules: tuple[str, ...] = ()
    """The rules of policy that forbid what they allowed before."""
    stop_orders: tuple[str, ...] = ()
    within_ms: int = 0
    """How soon the stop orders want it gone; 0 for what stops as any cancelled job does."""


class SitesChanged(Event, frozen=True, kw_only=True, omit_defaults=True, tag="sites-changed"):
    """Policy lets jobs that are not over run at other sites than before.

    It judges jobs of one project, purpose and data alike, so each case names these three and the sites.
    """

    cases: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...]

    def changed(self, jobs: Iterable[tuple[str, JobSubmitted]]) -> list[tuple[str, JobSubmitted]]:
        """Those of these jobs that it is about, as if they had been submitted with these sites."""
        sites_of = {(project, purpose, data): sites for project, purpose, data, sites in self.cases}
        found = ((job, asked, sites_of.get((asked.project, asked.purpose, asked.data))) for job, asked in jobs)
        return [(job, replace(asked, sites=sites)) for job, asked, sites in found if sites is not None]


class JobReleased(Event, frozen=True, kw_only=True, omit_defaults=True, tag="job-released"):
    """A held job may queue now: its dependencies finished or its backoff passed."""

    job: str


class Planned(Event, frozen=True, kw_only=True, omit_defaults=True, tag="planned"):
    """The kernel decided."""

    plan: Plan


class AttemptStarted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="attempt-started"):
    """An engine reported that the processes of an attempt run."""

    job: str
    attempt: int
    nodes: tuple[str, ...] = ()
    """Where, by rank and in the engine's own names, when the engine chose the nodes."""


class AttemptEnded(Event, frozen=True, kw_only=True, omit_defaults=True, tag="attempt-ended"):
    """An attempt is over and its GPUs are free. `exit_code` is negative for a signal, as in POSIX wrappers."""

    job: str
    attempt: int
    outcome: Outcome
    exit_code: int
    detail: str = ""
    """Why it never ran, in its engine's words."""


class SiteContact(StrEnum):
    """Whether a site's engine can be reached."""

    CONNECTED = "connected"
    LOST = "lost"


class SiteContactChanged(Event, frozen=True, kw_only=True, omit_defaults=True, tag="site-contact-changed"):
    """The way to a site's engine was lost, or found again. What runs there runs on; nothing new starts until then."""

    site: str
    contact: SiteContact
    detail: str = ""
    """What is wrong with it."""


class NodeReason(StrEnum):
    """Why a node changed its state."""

    ASKED = "asked"
    FAILED = "failed"
    REPAIRED = "repaired"
    REPEATED_FAILURES = "repeated-failures"
    PROBATION_OVER = "probation-over"


class NodeChanged(Event, frozen=True, kw_only=True, omit_defaults=True, tag="node-changed"):
    """A node changed its state: `up`, `cordoned`, `drained`, `down` or `suspect`.

    One that is to be `up` at a site that is out of contact is `unreachable` until there is contact again.
    """

    node: str
    state: str
    by: str
    reason: NodeReason = NodeReason.ASKED


class TokenIssued(Event, frozen=True, kw_only=True, omit_defaults=True, tag="token-issued"):
    """A bearer token was made. Only its opaque id is here; the token itself was shown once and is kept nowhere."""

    token: str
    role: str
    organisation: str
    by: str
    kind: str = "bearer"
    """`session` for one that a browser keeps in a cookie."""
    scope: tuple[str, ...] = ()
    """Permissions that it was left with; all of its role when empty."""
    project: str = ""
    expires_at_ms: int = 0
    account: str = ""
    """Opaque id of the person or service that it belongs to."""


class TokenRevoked(Event, frozen=True, kw_only=True, omit_defaults=True, tag="token-revoked"):
    """A bearer token is no longer accepted."""

    token: str
    by: str


class SecretStored(Event, frozen=True, kw_only=True, omit_defaults=True, tag="secret-stored"):
    """A named secret of a project was set or replaced. Its value is not here."""

    project: str
    name: str
    by: str


class AccountAdded(Event, frozen=True, kw_only=True, omit_defaults=True, tag="account-added"):
    """A person or service has an account: its opaque id, its kind, and its roles with the organisation each is for."""

    account: str
    kind: str
    grants: tuple[tuple[str, str], ...]
    by: str


class AccountChanged(Event, frozen=True, kw_only=True, omit_defaults=True, tag="account-changed"):
    """An account has other roles now."""

    account: str
    grants: tuple[tuple[str, str], ...]
    by: str


class AccountRemoved(Event, frozen=True, kw_only=True, omit_defaults=True, tag="account-removed"):
    """An account is gone, and with it all that was personal about it."""

    account: str
    by: str


class LedgerRestored(Event, frozen=True, kw_only=True, omit_defaults=True, tag="ledger-restored"):
    """The ledger was put back from a backup. What was recorded after that is not here, though engines may have run it.

    No later job has a number below `first_job`, so that none is mistaken for one of those.
    """

    first_job: int


FleetEvent = (
    NationApplied
    | JobSubmitted
    | AccessRefused
    | CancelRequested
    | SitesChanged
    | JobReleased
    | Planned
    | AttemptStarted
    | AttemptEnded
    | NodeChanged
    | SiteContactChanged
    | TokenIssued
    | TokenRevoked
    | SecretStored
    | AccountAdded
    | AccountChanged
    | AccountRemoved
    | LedgerRestored
)
"""What the world and the books follow."""

AnyEvent = FleetEvent | OversightEvent

_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(AnyEvent)
_FLEET_DECODER = msgspec.json.Decoder(FleetEvent)


def encode(event: AnyEvent) -> bytes:
    """Canonical bytes of an event: the ledger entry."""
    return _ENCODER.encode(event)


def decode(entry: bytes) -> AnyEvent:
    """The event in a ledger entry.

    Foreign bytes raise `msgspec.DecodeError` (of which `ValidationError` is a kind), `UnicodeDecodeError` or
    `RecursionError`.
    """
    event: AnyEvent = _DECODER.decode(entry)
    return event


def decode_fleet_event(entry: bytes) -> FleetEvent:
    """As `decode`, for an entry of a ledger that only the fleet has a part in, such as a simulation's."""
    event: FleetEvent = _FLEET_DECODER.decode(entry)
    return event


def are_canonical(entries: Sequence[bytes]) -> bool:
    """True when each of these ledger entries is an event in its canonical bytes."""
    lines = b"\n".join(entries) + b"\n"
    if lines.count(b"\n") != len(entries):
        return False
    try:
        return _ENCODER.encode_lines(_DECODER.decode_lines(lines)) == lines
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def encode_all(events: Sequence[AnyEvent]) -> list[bytes]:
    """Canonical bytes of several events, in order."""
    return [_ENCODER.encode(event) for event in events]
