"""What people ask the loop for, and what they are answered. A request that changes nothing does not come here."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from dure.control.access import Caller, Grant, Permission, Role
from dure.control.accounts import AccountKind, AccountLine
from dure.control.oversight.agreement_requests import AgreementRequest, AgreementStands
from dure.control.oversight.model_requests import ModelRequest, ModelStands
from dure.control.oversight.requests import OversightAnswer, OversightRequest
from dure.control.oversight.result_requests import ResultRequest, ResultsStand
from dure.control.people import ForgetPerson, Forgotten
from dure.control.tokens import TokenCard, TokenKind
from dure.intake.refusals import Refusal
from dure.model.jobs import ArrayRange, JobSpec, JobState
from dure.model.nation import Nation


class SubmitJob(Struct, frozen=True, kw_only=True):
    """Accept a job. A `key` that the caller used before is answered as it was then."""

    caller: Caller
    spec: JobSpec
    warnings: tuple[str, ...] = ()
    key: str = ""
    digest: str = ""
    """Hexadecimal SHA-256 of the body that the spec was read from."""


class SubmitJobs(Struct, frozen=True, kw_only=True):
    """Accept many jobs at once, each by itself: one that is refused keeps no other from being accepted.

    `key` and `digest` are for all of them, as `SubmitJob` has them for one.
    """

    caller: Caller
    specs: tuple[JobSpec, ...]
    key: str = ""
    digest: str = ""


class CancelJob(Struct, frozen=True, kw_only=True):
    """Stop a job, or take it out of the queue."""

    caller: Caller
    job: str


class ApplyNation(Struct, frozen=True, kw_only=True):
    """Make this the declared state of the platform."""

    caller: Caller
    nation: Nation


class ChangeNode(Struct, frozen=True, kw_only=True):
    """Bring a node into another state: `cordoned`, `drained`, `down`, or back into service (`up`)."""

    caller: Caller
    node: str
    state: str


class ChangeContact(Struct, frozen=True, kw_only=True):
    """The way to a site's engine was lost, for this reason, or found again, where there is none."""

    caller: Caller
    site: str
    problem: str


class IssueToken(Struct, frozen=True, kw_only=True):
    """Make a bearer token: for a role, or for an account, which then has a role already."""

    caller: Caller
    role: Role
    organisation: str = ""
    scope: tuple[Permission, ...] = ()
    """What to leave it with of its role; all of it when empty."""
    project: str = ""
    expires_at_ms: int = 0
    """0 for a token that never expires."""
    account: str = ""


class OpenSession(Struct, frozen=True, kw_only=True):
    """Make a session for a browser of the caller's; it ends with the token that the caller shows."""

    caller: Caller
    expires_at_ms: int
    idle_ms: int


class SignIn(Struct, frozen=True, kw_only=True):
    """Somebody proved who they are: note what they may do now, and make a token for one of their roles.

    Tokens that they hold for roles which they no longer have are revoked. A person is found by `subject`, and gets an
    account at the first sign-in; others name their `account`.
    """

    account: str = ""
    subject: str = ""
    kind: AccountKind
    name: str
    grants: tuple[Grant, ...]
    grant: Grant
    token_kind: TokenKind
    expires_at_ms: int
    idle_ms: int = 0


class RevokeToken(Struct, frozen=True, kw_only=True):
    """Accept a bearer token no longer."""

    caller: Caller
    token: str


class AddAccount(Struct, frozen=True, kw_only=True):
    """Make an account for a service, or a local one with a password."""

    caller: Caller
    kind: AccountKind
    name: str
    grant: Grant
    password_hash: str = ""

    def __repr__(self) -> str:
        """Everything but the password's hash, so that no log ever shows it."""
        return f"AddAccount(kind={self.kind.value}, grant={self.grant})"


class RemoveAccount(Struct, frozen=True, kw_only=True):
    """Forget an account, and accept its tokens no longer."""

    caller: Caller
    account: str


class StoreSecret(Struct, frozen=True, kw_only=True):
    """Set or replace a named secret of a project."""

    caller: Caller
    project: str
    name: str
    value: bytes

    def __repr__(self) -> str:
        """Everything but the value, so that no log ever shows it."""
        return f"StoreSecret(project={self.project!r}, name={self.name!r})"


AccessRequest = IssueToken | OpenSession | SignIn | RevokeToken | AddAccount | RemoveAccount | ForgetPerson
FleetRequest = SubmitJob | SubmitJobs | CancelJob | ApplyNation | ChangeNode | ChangeContact
GovernanceRequest = AgreementRequest | ModelRequest | OversightRequest | ResultRequest
Request = FleetRequest | AccessRequest | StoreSecret | GovernanceRequest


class Submitted(Struct, frozen=True, kw_only=True):
    """The ids of the accepted jobs, and what to know about them. Tasks of an `array` are `{job}_{number}`."""

    jobs: tuple[str, ...]
    array: ArrayRange | None = None
    warnings: tuple[str, ...] = ()


class JobNotAccepted(Struct, frozen=True, kw_only=True):
    """Why one of many jobs was not accepted: a stable code, and what to do."""

    code: str
    message: str
    field: str = ""


class SubmittedJobs(Struct, frozen=True, kw_only=True):
    """What became of each of many jobs, in their order: its id, or why it was not accepted."""

    jobs: tuple[str | JobNotAccepted, ...]


class JobStands(Struct, frozen=True, kw_only=True):
    """Where a job is after a request about it."""

    job: str
    state: JobState


class NodeStands(Struct, frozen=True, kw_only=True):
    """Where a node is after a request about it, and what was running there."""

    node: str
    state: str
    jobs: tuple[str, ...]


class TokenIssuedOnce(Struct, frozen=True, kw_only=True):
    """A new token. This is the only time that anybody sees its text."""

    text: str
    card: TokenCard

    def __repr__(self) -> str:
        """Everything but the text, so that no log ever shows it."""
        return f"TokenIssuedOnce(card={self.card!r})"


class Done(Struct, frozen=True, kw_only=True):
    """It is done, and there is nothing else to say."""


class NationStands(Struct, frozen=True, kw_only=True):
    """What an application of a nation document changed (or would change), as one line per change."""

    changes: tuple[str, ...]
    applied: bool
    notes: tuple[str, ...] = ()
    """Which nodes new reservations get, and which jobs are still there when they begin."""


class NotDoneCode(StrEnum):
    """Why the loop did not do what was asked. Other programs match on these: add, but never rename."""

    UNAVAILABLE = "temporarily-unavailable"
    UNKNOWN_JOB = "unknown-job"
    NOT_YOUR_JOB = "not-your-job"
    JOB_IS_OVER = "job-is-over"
    UNKNOWN_NODE = "unknown-node"
    UNKNOWN_ORGANISATION = "unknown-organisation"
    NO_SUCH_BEARER = "unknown-token"
    UNKNOWN_PROJECT = "unknown-project"
    NOT_YOUR_PROJECT = "not-your-project"
    MISSING_CREDENTIAL = "unknown-secret"
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused"
    NOT_YOURS_TO_GRANT = "not-yours-to-grant"
    SCOPE_TOO_WIDE = "scope-too-wide"
    UNKNOWN_ACCOUNT = "unknown-account"
    ACCOUNT_EXISTS = "account-exists"
    JOBS_NOT_OVER = "jobs-not-over"
    UNKNOWN_AGREEMENT = "unknown-agreement"
    UNKNOWN_DATASET = "unknown-dataset"
    NOT_YOUR_SIDE = "not-your-side"
    OWN_OFFER = "own-offer"
    AGREEMENT_NOT_OPEN = "agreement-not-open"
    TERMS_HAVE_CHANGED = "terms-have-changed"
    PARTIES_ARE_FIXED = "parties-are-fixed"
    UNKNOWN_MODEL = "unknown-model"
    JOB_NOT_OVER = "job-is-not-over"
    MODEL_WITHDRAWN = "model-withdrawn"
    GATE_NOT_PASSED = "gate-not-passed"
    UNKNOWN_TASK = "unknown-task"
    BAD_STOP_ORDER = "bad-stop-order"
    NEEDS_ACCOUNT = "needs-an-account"
    OWN_PROPOSAL = "own-proposal"
    UNKNOWN_PROPOSAL = "unknown-proposal"
    CANNOT_BE_PROPOSED = "cannot-be-proposed"
    UNKNOWN_RESULTS = "unknown-results"
    OWN_RESULTS = "own-results"
    RESULT_NOT_HELD = "result-not-held"
    RESULT_NOT_RELEASABLE = "result-not-releasable"
    NO_AGREEMENT_FOR_RESULTS = "no-agreement-for-results"
    RESULTS_ARE_HELD = "results-are-held"
    OUTPUT_NOT_YOURS_TO_TAKE = "output-not-yours-to-take"


class NotDone(Struct, frozen=True, kw_only=True):
    """Something that the loop did not do, for a reason that is not intake's."""

    code: NotDoneCode
    message: str
    """What is wrong and what to do, in English."""


Answer = (
    Submitted
    | SubmittedJobs
    | JobStands
    | NodeStands
    | TokenIssuedOnce
    | AccountLine
    | NationStands
    | Done
    | Forgotten
    | AgreementStands
    | ModelStands
    | OversightAnswer
    | ResultsStand
)
Reply = Answer | Refusal | NotDone
"""An answer, or the reason why there is none."""
