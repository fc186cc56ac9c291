"""Operations on jobs: submit, preview, list, explain, cancel, and the output."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable

import msgspec
from msgspec.structs import replace
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from dure.api.bodies import JobDocument, idempotency_key, read_job
from dure.api.operations import Call, bad_parameter
from dure.api.platform import Platform, with_expectation
from dure.api.problems import problem
from dure.api.replies import done, not_done, refused
from dure.control.feed import EVERYTHING
from dure.control.logs import Piece, read_piece
from dure.control.preview import Preview, Trial, try_out
from dure.control.requests import Answer, CancelJob, NotDoneCode, SubmitJob
from dure.governance.library import shipped_library
from dure.intake.jobfile import MOST_NODES
from dure.model.blockers import NoEta, Why
from dure.model.jobs import JobState
from dure.reports.jobs import MOST_QUEUED, JobReport, JobsReport, QueueReport
from dure.world.cards import JobCard

EVENT_STREAM = "text/event-stream"
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
MOST_LISTED = 1_000
ACTIVE = "active"
LOOK_AGAIN_S = 0.2
"""How often a followed log is looked at: files do not say when they grow, and only followers pay for looking."""


async def submit(platform: Platform, call: Call) -> Answer:
    """Accept a job. With an Idempotency-Key, the same document sent again gives no second job."""
    document = await _document(call)
    request = SubmitJob(
        caller=call.caller,
        spec=document.spec,
        warnings=document.warnings,
        key=idempotency_key(call),
        digest=document.digest,
    )
    return done(await platform.ask(request))


async def plan(platform: Platform, call: Call) -> Preview:
    """Say what would happen to a job, and change nothing."""
    document = await _document(call)
    tried = try_out(platform.control.memory, call.caller, document.spec, platform.clock.now_ms())
    if not isinstance(tried, Trial):
        raise refused(tried)
    if tried.preview.why is None or not call.flag("eta", "true"):
        return tried.preview
    expected = await platform.expectations.in_copy(tried.world, tried.card)
    return replace(tried.preview, why=with_expectation(tried.preview.why, expected))


async def listing(platform: Platform, call: Call) -> JobsReport:
    """Jobs, newest first, as far as the caller may see them."""
    state = call.text("state")
    if state and state != ACTIVE and state not in set(JobState):
        raise bad_parameter("state", state, f"write {ACTIVE}, or one of {', '.join(JobState)}")
    cards: Iterable[JobCard] = platform.world.jobs.values()
    if state == ACTIVE:
        cards = (card for card in cards if not card.state.is_final)
    elif state:
        cards = (card for card in cards if card.state.value == state)
    if project := call.text("project"):
        cards = (card for card in cards if card.submitted.project == project and _may_see(platform, call, card))
    return platform.jobs(cards, call.caller.viewer, call.number("limit", 100, MOST_LISTED))


async def queue(platform: Platform, call: Call) -> QueueReport:
    """Who runs, and who waits in which order and why: so many of each, and how many there are in all."""
    return platform.queue(call.caller.viewer, call.number("limit", MOST_QUEUED, MOST_LISTED))


async def one(platform: Platform, call: Call) -> JobReport:
    """Everything about one job."""
    report = await platform.job(call.path("job"), call.caller.viewer, expect=call.flag("eta"))
    if report is None:
        raise _unknown(call)
    return report


async def why(platform: Platform, call: Call) -> Why:
    """All that keeps a job from starting."""
    card = own_card(platform, call)
    if platform.world.card_of(card.job) is None or not platform.world.waits(card):
        return Why(job=card.job, state=card.state.value, position=0, blockers=(), no_eta=NoEta.NOT_WAITING)
    found = platform.explain(card.job)
    return await platform.expect(found) if call.flag("eta", "true") else found


async def cancel(platform: Platform, call: Call) -> Answer:
    """Take a job out of the queue, or have it stopped."""
    return done(await platform.ask(CancelJob(caller=call.caller, job=call.path("job"))))


async def log(platform: Platform, call: Call) -> Response:
    """The output of one rank; as an event stream, it is followed until the job is over."""
    card = own_card(platform, call)
    rank = call.number("rank", 0, MOST_NODES)
    attempt = call.number("attempt", 0, 1 << 30)
    offset = call.number("offset", 0, 1 << 50)
    if rank >= card.submitted.nodes:
        raise bad_parameter("rank", str(rank), f"{card.job} has the ranks 0 to {card.submitted.nodes - 1}")
    if attempt > max(1, card.attempt):
        raise bad_parameter("attempt", str(attempt), f"{card.job} has had {card.attempt} so far")
    if platform.control.memory.outputs.are_gone(card):
        raise no_longer_kept(card, platform.control.memory.outputs.most)
    if not platform.may_read_log(card, attempt or card.attempt, rank):
        raise results_held(card.job)
    if EVENT_STREAM in call.request.headers.get("accept", ""):
        follower = Follower(platform, card.job, rank, attempt, offset)
        frames = platform.admission.while_accepted(call.caller, follower.frames())
        return StreamingResponse(frames, media_type=EVENT_STREAM, headers=STREAM_HEADERS)
    piece = await _read(platform, card, attempt or card.attempt, rank, offset)
    headers = STREAM_HEADERS | {"Dure-Log-Offset": str(piece.offset), "Dure-Log-Size": str(piece.size)}
    return PlainTextResponse(piece.text, headers=headers)


async def events(platform: Platform, call: Call) -> Response:
    """Job states as they change. Last-Event-ID resumes without a gap; `reload` says that too much passed."""
    last = call.request.headers.get("last-event-id", "")
    if last and not (last.isascii() and last.isdigit() and len(last) <= 18):
        raise problem(400, "bad-parameter", "Last-Event-ID is the id of an event of this stream, a whole number.")
    viewer = call.caller.viewer
    # A token for one project is told what everybody is.
    audience = EVERYTHING if viewer.sees_everything else viewer.organisation
    changes = platform.loop.feed.subscribe(audience, int(last) if last else None)
    frames = platform.admission.while_accepted(call.caller, changes)
    return StreamingResponse(frames, media_type=EVENT_STREAM, headers=STREAM_HEADERS)


class Follower:
    """Follows the output of one rank, from one attempt on through those that follow it, as server-sent events.

    `output` has `attempt`, `text` and the `offset` after it; `end` comes when the job is over and has its state. A
    stream that ends without it was cut off.
    """

    def __init__(self, platform: Platform, job: str, rank: int, attempt: int, offset: int) -> None:
        self._platform = platform
        self._job = job
        self._rank = rank
        self._attempt = attempt or 1
        self._offset = offset

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Output as it comes, until there can be no more."""
        while not self._platform.loop.feed.is_closed:
            card = self._platform.card(self._job)
            assert card is not None, "a job that was accepted is never forgotten"
            # Whether more may come is asked before reading: what is written until then is in the piece.
            is_over = card.state.is_final
            piece = await _read(self._platform, card, self._attempt, self._rank, self._offset)
            if piece.text:
                self._offset = piece.offset
                yield _frame("output", {"attempt": self._attempt, "text": piece.text, "offset": piece.offset})
            elif self._attempt < card.attempt:
                self._attempt, self._offset = self._attempt + 1, 0
            elif is_over:
                yield _frame("end", {"state": card.state.value, "exit_code": card.exit_code})
                return
            else:
                await asyncio.sleep(LOOK_AGAIN_S)


async def _document(call: Call) -> JobDocument:
    """The job in the body. The packs that a training is measured by are read on a thread, the first time."""
    document = read_job(call)
    if document.spec.trains:
        await asyncio.to_thread(shipped_library)
    return document


async def _read(platform: Platform, card: JobCard, attempt: int, rank: int, offset: int) -> Piece:
    """A piece of output; an empty one while there is none."""
    path = platform.log_path(card, attempt, rank) if attempt else None
    if path is None:
        return Piece(text="", offset=offset, size=0)
    try:
        return await asyncio.to_thread(read_piece, path, offset)
    except FileNotFoundError:
        return Piece(text="", offset=offset, size=0)


def _frame(name: str, body: dict[str, object]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(body))


def own_card(platform: Platform, call: Call) -> JobCard:
    """The job of the path. Raises a problem unless the caller may see the whole of it."""
    card = platform.card(call.path("job"))
    if card is None:
        raise _unknown(call)
    if not _may_see(platform, call, card):
        raise not_done(NotDoneCode.NOT_YOUR_JOB, f"{card.job} belongs to another organisation.")
    return card


def _may_see(platform: Platform, call: Call, card: JobCard) -> bool:
    return call.caller.viewer.may_see(platform.world.nation, card.submitted.project)


def no_longer_kept(card: JobCard, most: int) -> Exception:
    """The problem of a job whose output was deleted to make room."""
    message = f"The output of {card.job} is no longer kept; there is that of the latest {most:,} jobs to end."
    return problem(410, "output-no-longer-kept", message)


def results_held(job: str) -> Exception:
    """The problem of what waits in the airlock, or was refused: the two are not told apart."""
    message = (
        f"{job} runs on restricted data: what it leaves and prints is held in the airlock until a steward releases it. "
        f"`dure outputs {job}` lists what was released."
    )
    return not_done(NotDoneCode.RESULTS_ARE_HELD, message)


def _unknown(call: Call) -> Exception:
    return not_done(NotDoneCode.UNKNOWN_JOB, f"There is no job {call.path('job')}; `dure queue` lists them.")
