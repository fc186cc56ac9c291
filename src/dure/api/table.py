"""All operations of the interface. Whoever adds one adds a line here, and nothing else has to know."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from dure.api import (
    access,
    batches,
    fleet,
    jobs,
    nation,
    outputs,
    oversight,
    people,
    policy,
    provider_sign_in,
    records,
    signing_in,
)
from dure.api.airlock_operations import AIRLOCK_OPERATIONS
from dure.api.bodies import FORM, JSON, LINES, OCTETS, SCRIPT, YAML
from dure.api.data_operations import DATA_OPERATIONS
from dure.api.jobs import EVENT_STREAM
from dure.api.model_operations import MODEL_OPERATIONS
from dure.api.openapi import openapi_document
from dure.api.operations import Call, Operation, Parameter
from dure.api.platform import Health, Platform
from dure.control.access import Permission
from dure.control.accounts import AccountLine
from dure.control.oversight.requests import ProposalStands, StopOrderStands
from dure.control.people import Forgotten
from dure.control.preview import Preview
from dure.control.requests import (
    Done,
    JobStands,
    NationStands,
    NodeStands,
    Submitted,
    SubmittedJobs,
    TokenIssuedOnce,
)
from dure.model.blockers import Why
from dure.model.nation import Nation
from dure.reports.fleet import NodesReport, SitesReport
from dure.reports.jobs import JobReport, JobsReport, QueueReport
from dure.reports.ledger import LedgerEntries, LedgerReport
from dure.reports.lending import LendingReport
from dure.reports.shares import SharesReport
from dure.reports.usage import UsageReport

READ, AUDIT, SUBMIT = Permission.READ, Permission.AUDIT, Permission.SUBMIT
ADMINISTER, OPERATE = Permission.ADMINISTER, Permission.OPERATE
GOVERN = Permission.GOVERN

JOB_BODIES = {YAML: None, JSON: dict[str, Any], SCRIPT: None}
PROJECT = Parameter(name="project", description="Project of the job when the document names none.")
KEY = Parameter(
    name="Idempotency-Key", place="header", description="The same key with the same document is accepted once."
)
LIMIT = Parameter(name="limit", type="integer", description="How many at most, up to 1,000.")
LOG_PARAMETERS = (
    Parameter(name="rank", type="integer", description="Which rank of a gang; 0 unless given."),
    Parameter(
        name="attempt",
        type="integer",
        description="Which attempt; the latest unless given. When following, from which on; the first.",
    ),
    Parameter(name="offset", type="integer", description="Byte to start from."),
)
ATTEMPT = Parameter(name="attempt", type="integer", description="Which attempt; the latest unless given.")
OUTPUT_PATH = Parameter(name="path", description="The file, as it is listed.", required=True)
JOB_FILTERS = (
    Parameter(name="state", description="Only jobs in this state; `active` for all that are not over."),
    Parameter(name="project", description="Only jobs of this project."),
    LIMIT,
)
PERIOD = (
    Parameter(
        name="from_ms", type="integer", description="Start, in milliseconds since 1970; all there is unless given."
    ),
    Parameter(name="until_ms", type="integer", description="End, in milliseconds since 1970; now unless given."),
)
DAYS = (
    Parameter(
        name="from_ms",
        type="integer",
        description="A moment of the first day (UTC), in milliseconds since 1970; all there is unless given.",
    ),
    Parameter(
        name="until_ms",
        type="integer",
        description="The end, rounded up to a whole day (UTC), in milliseconds since 1970; now unless given.",
    ),
)
START = Parameter(name="start", type="integer", description="Position of the first entry.")
ETA = Parameter(
    name="eta", type="boolean", description="`false` leaves out the expected start, which takes longest to find; true."
)
ETA_OF_REPORT = Parameter(
    name="eta", type="boolean", description="`true` adds the expected start to the reasons; false."
)
DRY_RUN = Parameter(name="dry_run", type="boolean", description="Only say what would change.")
TICKET = Parameter(name="ticket", description="The ticket in a sign-in link.", required=True)
WISHED_ROLE = (
    Parameter(name="role", description="Which of several roles to sign in with; the first unless given."),
    Parameter(name="organisation", description="In which of several organisations; the first unless given."),
)
FROM_PROVIDER = (
    Parameter(name="state", description="What the browser was sent with."),
    Parameter(name="code", description="The provider's code."),
    Parameter(name="error", description="Why the provider gave none."),
    Parameter(name="iss", description="Who the provider says it is."),
)
LAST_EVENT = Parameter(name="Last-Event-ID", place="header", description="Id of the last event that was seen.")


async def openapi(_: Platform, __: Call) -> dict[str, Any]:
    """This document."""
    return openapi_document(OPERATIONS, version("dure"))


OPERATIONS: tuple[Operation, ...] = (
    # Submissions come first because they are asked for most.
    Operation(
        method="POST",
        path="/v1/jobs",
        permission=SUBMIT,
        handler=jobs.submit,
        summary="Submit a job",
        bodies=JOB_BODIES,
        parameters=(KEY, PROJECT),
        answer=Submitted,
        status=201,
    ),
    Operation(
        method="POST",
        path="/v1/jobs/batch",
        permission=SUBMIT,
        handler=batches.submit,
        summary="Submit many jobs at once",
        bodies={LINES: None},
        largest_body=batches.LARGEST_BATCH,
        parameters=(KEY, PROJECT),
        answer=SubmittedJobs,
        status=201,
    ),
    Operation(
        method="GET",
        path="/v1/jobs",
        permission=READ,
        handler=jobs.listing,
        summary="List jobs",
        parameters=JOB_FILTERS,
        answer=JobsReport,
    ),
    Operation(
        method="GET",
        path="/v1/jobs/{job}",
        permission=READ,
        handler=jobs.one,
        summary="Show a job",
        parameters=(ETA_OF_REPORT,),
        answer=JobReport,
    ),
    Operation(
        method="GET",
        path="/v1/jobs/{job}/why",
        permission=READ,
        handler=jobs.why,
        summary="Explain why a job waits, and when it may start",
        parameters=(ETA,),
        answer=Why,
    ),
    Operation(
        method="GET",
        path="/v1/jobs/{job}/log",
        permission=READ,
        handler=jobs.log,
        summary="Read or follow a job's output",
        parameters=LOG_PARAMETERS,
        answer_media_type="text/plain",
    ),
    Operation(
        method="GET",
        path="/v1/jobs/{job}/outputs",
        permission=READ,
        handler=outputs.listing,
        summary="List what a job left in its output folder",
        parameters=(ATTEMPT,),
        answer=outputs.OutputsReport,
    ),
    Operation(
        method="GET",
        path="/v1/jobs/{job}/outputs/file",
        permission=READ,
        handler=outputs.fetch,
        summary="Fetch a file from a job's output folder",
        parameters=(ATTEMPT, OUTPUT_PATH),
        answer_media_type="application/octet-stream",
    ),
    Operation(
        method="GET",
        path="/v1/jobs/{job}/outputs/view",
        permission=READ,
        handler=outputs.view,
        summary="Look at a text in a job's output folder",
        parameters=(ATTEMPT, OUTPUT_PATH),
        answer_media_type="text/plain",
    ),
    Operation(
        method="POST",
        path="/v1/jobs/{job}/cancel",
        permission=SUBMIT,
        handler=jobs.cancel,
        summary="Cancel a job",
        answer=JobStands,
    ),
    Operation(
        method="POST",
        path="/v1/plan",
        permission=SUBMIT,
        handler=jobs.plan,
        summary="Say what would happen to a job",
        bodies=JOB_BODIES,
        parameters=(PROJECT, ETA),
        answer=Preview,
    ),
    Operation(
        method="GET",
        path="/v1/queue",
        permission=READ,
        handler=jobs.queue,
        summary="Show who runs and who waits",
        parameters=(LIMIT,),
        answer=QueueReport,
    ),
    Operation(
        method="GET",
        path="/v1/events",
        permission=READ,
        handler=jobs.events,
        summary="Watch jobs change",
        parameters=(LAST_EVENT,),
        answer_media_type=EVENT_STREAM,
    ),
    Operation(
        method="GET",
        path="/v1/sites",
        permission=READ,
        handler=fleet.sites,
        summary="List sites and their engines",
        answer=SitesReport,
    ),
    Operation(
        method="GET",
        path="/v1/nodes",
        permission=READ,
        handler=fleet.nodes,
        summary="List nodes",
        answer=NodesReport,
    ),
    Operation(
        method="POST",
        path="/v1/nodes/{node}/cordon",
        permission=OPERATE,
        handler=fleet.cordon,
        summary="Start nothing more on a node",
        answer=NodeStands,
    ),
    Operation(
        method="POST",
        path="/v1/nodes/{node}/down",
        permission=OPERATE,
        handler=fleet.down,
        summary="Give a node up for lost",
        answer=NodeStands,
    ),
    Operation(
        method="POST",
        path="/v1/nodes/{node}/drain",
        permission=OPERATE,
        handler=fleet.drain,
        summary="Empty a node",
        answer=NodeStands,
    ),
    Operation(
        method="POST",
        path="/v1/nodes/{node}/resume",
        permission=OPERATE,
        handler=fleet.resume,
        summary="Resume a node",
        answer=NodeStands,
    ),
    Operation(
        method="GET",
        path="/v1/shares",
        permission=READ,
        handler=fleet.shares,
        summary="Show the share tree",
        answer=SharesReport,
    ),
    Operation(
        method="GET",
        path="/v1/usage",
        permission=READ,
        handler=fleet.usage,
        summary="Show who used how much",
        parameters=PERIOD,
        answer=UsageReport,
    ),
    Operation(
        method="GET",
        path="/v1/lending",
        permission=READ,
        handler=fleet.lending,
        summary="Show who lent to whom",
        parameters=DAYS,
        answer=LendingReport,
    ),
    Operation(
        method="GET",
        path="/v1/nation",
        permission=READ,
        handler=nation.show,
        summary="Show the declared nation",
        answer=Nation,
    ),
    Operation(
        method="PUT",
        path="/v1/nation",
        permission=OPERATE,
        handler=nation.apply,
        summary="Declare the nation",
        bodies={YAML: None},
        parameters=(DRY_RUN,),
        answer=NationStands,
    ),
    *MODEL_OPERATIONS,
    *AIRLOCK_OPERATIONS,
    *DATA_OPERATIONS,
    Operation(
        method="GET",
        path="/v1/ledger/checkpoint",
        permission=READ,
        handler=records.checkpoint,
        summary="Show the last signed checkpoint",
        answer=LedgerReport,
    ),
    Operation(
        method="GET",
        path="/v1/ledger/entries",
        permission=AUDIT,
        handler=records.entries,
        summary="Read the ledger",
        parameters=(START, LIMIT),
        answer=LedgerEntries,
    ),
    Operation(
        method="GET",
        path="/v1/ledger/log/checkpoint",
        permission=READ,
        handler=records.log_checkpoint,
        summary="Show the checkpoint of the tiles",
        answer_media_type="text/plain",
    ),
    Operation(
        method="GET",
        path="/v1/ledger/log/tile/{tile:path}",
        permission=AUDIT,
        handler=records.log_tile,
        summary="Read a tile of the ledger",
        answer_media_type=OCTETS,
    ),
    Operation(
        method="GET",
        path="/v1/ledger/log/large/{number:path}",
        permission=AUDIT,
        handler=records.log_large,
        summary="Read a large entry of the ledger",
        answer_media_type=OCTETS,
    ),
    Operation(
        method="GET",
        path="/v1/policy",
        permission=READ,
        handler=policy.rules,
        summary="Show the rules in force",
        answer=policy.PolicyReport,
    ),
    Operation(
        method="POST",
        path="/v1/stop-orders",
        permission=GOVERN,
        handler=oversight.issue_stop_order,
        summary="Stop a use of data",
        bodies={JSON: oversight.WantedStopOrder},
        answer=StopOrderStands,
        status=201,
    ),
    Operation(
        method="GET",
        path="/v1/stop-orders",
        permission=AUDIT,
        handler=oversight.stop_orders,
        summary="List the stop orders that hold",
        answer=oversight.StopOrdersReport,
    ),
    Operation(
        method="POST",
        path="/v1/proposals",
        permission=GOVERN,
        handler=oversight.propose,
        summary="Propose a change that takes two people",
        bodies={JSON: oversight.WantedChange},
        answer=ProposalStands,
        status=201,
    ),
    Operation(
        method="GET",
        path="/v1/proposals",
        permission=AUDIT,
        handler=oversight.proposals,
        summary="List the changes that wait for a second person",
        answer=oversight.ProposalsReport,
    ),
    Operation(
        method="POST",
        path="/v1/proposals/{proposal}/approve",
        permission=GOVERN,
        handler=oversight.approve,
        summary="Approve what somebody else proposed",
        answer=ProposalStands,
    ),
    Operation(
        method="POST",
        path="/v1/proposals/{proposal}/withdraw",
        permission=GOVERN,
        handler=oversight.withdraw,
        summary="Take a proposal back, or turn it down",
        answer=ProposalStands,
    ),
    Operation(
        method="POST",
        path="/v1/tokens",
        permission=ADMINISTER,
        handler=access.issue,
        summary="Make a token",
        bodies={JSON: access.WantedToken},
        status=201,
        answer=TokenIssuedOnce,
    ),
    Operation(
        method="GET",
        path="/v1/tokens",
        permission=ADMINISTER,
        handler=access.tokens,
        summary="List tokens",
        answer=access.TokenList,
    ),
    Operation(
        method="DELETE",
        path="/v1/tokens/{token}",
        permission=ADMINISTER,
        handler=access.revoke,
        summary="Revoke a token",
        answer=Done,
    ),
    Operation(
        method="POST",
        path="/v1/accounts",
        permission=ADMINISTER,
        handler=access.add_account,
        summary="Add an account",
        bodies={JSON: access.WantedAccount},
        status=201,
        answer=AccountLine,
    ),
    Operation(
        method="GET",
        path="/v1/accounts",
        permission=ADMINISTER,
        handler=access.accounts,
        summary="List accounts",
        answer=access.AccountList,
    ),
    Operation(
        method="DELETE",
        path="/v1/accounts/{account}",
        permission=ADMINISTER,
        handler=access.remove_account,
        summary="Remove an account",
        answer=Done,
    ),
    Operation(
        method="POST",
        path="/v1/people/{person}/forget",
        permission=OPERATE,
        handler=people.forget,
        summary="Erase what is personal about somebody",
        answer=Forgotten,
    ),
    Operation(
        method="PUT",
        path="/v1/projects/{project}/secrets/{name}",
        permission=SUBMIT,
        handler=access.store_secret,
        summary="Store a secret",
        bodies={OCTETS: None},
        answer=Done,
    ),
    Operation(
        method="GET",
        path="/v1/whoami",
        permission=READ,
        handler=signing_in.who_am_i,
        summary="Say who the caller is",
        answer=signing_in.Identity,
    ),
    Operation(
        method="POST",
        path="/v1/sign-out",
        permission=READ,
        handler=signing_in.sign_out,
        summary="Give up the token in use",
        answer=Done,
    ),
    Operation(
        method="POST",
        path="/v1/sign-in/password",
        permission=None,
        handler=signing_in.by_password,
        summary="Sign in to a local account",
        bodies={JSON: signing_in.Credentials},
        status=201,
        answer=TokenIssuedOnce,
    ),
    Operation(
        method="POST",
        path="/v1/sign-in-links",
        permission=READ,
        handler=signing_in.sign_in_link,
        summary="Make a sign-in link for a browser",
        status=201,
        answer=signing_in.SignInLink,
    ),
    Operation(
        method="GET",
        path="/login",
        permission=None,
        handler=signing_in.redeem_link,
        summary="Sign a browser in",
        parameters=(TICKET,),
        status=303,
        answer_media_type="",
    ),
    Operation(
        method="GET",
        path="/login/provider",
        permission=None,
        handler=provider_sign_in.go_to_provider,
        summary="Send a browser to the identity provider",
        parameters=WISHED_ROLE,
        status=303,
        answer_media_type="",
    ),
    Operation(
        method="GET",
        path=provider_sign_in.CALLBACK,
        permission=None,
        handler=provider_sign_in.come_back,
        summary="Take a browser back from the identity provider",
        parameters=FROM_PROVIDER,
        answer_media_type="text/html",
    ),
    Operation(
        method="POST",
        path="/v1/sign-in/device",
        permission=None,
        handler=provider_sign_in.begin_device,
        summary="Begin to sign in a device",
        status=201,
        answer=provider_sign_in.DeviceSignIn,
    ),
    Operation(
        method="POST",
        path="/v1/sign-in/device/token",
        permission=None,
        handler=provider_sign_in.finish_device,
        summary="Ask for the token of a device",
        bodies={JSON: provider_sign_in.DeviceQuestion},
        answer=provider_sign_in.DeviceAnswer,
    ),
    Operation(
        method="POST",
        path="/logout",
        permission=READ,
        handler=signing_in.leave,
        summary="Sign a browser out",
        bodies={FORM: None},
        status=303,
        answer_media_type="",
        is_form=True,
    ),
    Operation(
        method="GET",
        path="/v1/health",
        permission=None,
        handler=records.health,
        summary="Say whether the platform works",
        answer=Health,
    ),
    Operation(
        method="GET",
        path="/livez",
        permission=None,
        handler=records.live,
        summary="Say that the process answers",
        answer_media_type="text/plain",
    ),
    Operation(
        method="GET",
        path="/readyz",
        permission=None,
        handler=records.ready,
        summary="Say whether requests should be sent here",
        answer_media_type="text/plain",
    ),
    Operation(
        method="GET",
        path="/metrics",
        permission=AUDIT,
        handler=records.metrics,
        watches_the_platform=True,
        summary="Figures for Prometheus",
        answer_media_type="text/plain",
    ),
    Operation(
        method="GET",
        path="/openapi.json",
        permission=None,
        handler=openapi,
        summary="Describe this interface",
        answer=dict[str, Any],
    ),
)
