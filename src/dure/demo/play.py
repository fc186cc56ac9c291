"""Plays the story from its first line to its summary, and serves on afterwards."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path

import httpx

from dure.demo.chapters import Act, acts
from dure.demo.chapters.jobs import seconds_per_step
from dure.demo.member import Member, Refused
from dure.demo.platform import Server, ServerEnded, serving
from dure.demo.story import Story, Unexpected
from dure.demo.telling import FAILED, NOT_PLAYED, PASSED, Chapter, Teller

INTERRUPTED = 130


def play(exit_at_end: bool, nation_file: Path | None = None) -> int:
    """Tell the whole story. Returns the exit code: 0 only if everything was as it should be."""
    teller = Teller()
    document = nation_file.read_bytes() if nation_file else files("dure.demo").joinpath("nation.yaml").read_bytes()
    try:
        with _any_end_in_order():
            return _play(teller, exit_at_end, document)
    except KeyboardInterrupt:
        teller.say("\nInterrupted. The platform and its jobs have been stopped.")
        return INTERRUPTED
    except ServerEnded as error:
        teller.wrong("the platform", "it serves", str(error))
    except Refused as refusal:
        teller.wrong("setting the scene", "the platform accepts the nation", str(refusal))
    return 1


def _play(teller: Teller, exit_at_end: bool, document: bytes) -> int:
    teller.say(
        "Dure (두레): a small nation shares its GPUs. The platform and the jobs are real; GPUs and nation are not."
    )
    with serving(teller) as server:
        began = time.monotonic()
        token = server.ready.operator_file.read_text("utf-8").strip()
        operator = Member(server.ready.url, token, "operator", "Operator")
        story = _set_the_scene(server, operator, teller, document)
        with teller.picturing(story.nation):
            chapters = _play_all(story)
        teller.summary(chapters, time.monotonic() - began)
        code = 0 if all(chapter.outcome == PASSED for chapter in chapters) else 1
        if not exit_at_end:
            _serve_on(server, operator, teller)
        return code


def _set_the_scene(server: Server, operator: Member, teller: Teller, document: bytes) -> Story:
    teller.say(f"It serves at {server.ready.url} (ready in {server.ready.started_in_ms / 1000:.1f} s).")
    teller.say(f"Its state is in {server.state}, which is removed at the end.")
    teller.copyable("Watch it live (this link signs in once):", server.ready.sign_in_url)
    operator.declare(document)
    story = Story(server, operator, teller, operator.nation(), seconds_per_step())
    gpus = sum(group.count * group.gpus for _, group in story.nation.node_groups())
    teller.say(
        f"Declared: {len(story.nation.sites)} sites, {gpus} virtual GPUs, {len(story.nation.organisations)} "
        "organisations, each with a token of its own."
    )
    return story


def _play_all(story: Story) -> list[Chapter]:
    """Play chapter after chapter. They build on each other, so after one that failed no other is played."""
    chapters: list[Chapter] = []
    for title, act in acts(story):
        if chapters and chapters[-1].outcome != PASSED:
            chapters.append(Chapter(title, NOT_PLAYED, "", ""))
        else:
            story.teller.heading(f"{len(chapters) + 1}. {title}")
            chapters.append(_play_one(story, title, act))
    return chapters


def _play_one(story: Story, title: str, act: Act) -> Chapter:
    try:
        proof = act()
    except Unexpected as broken:
        story.teller.wrong(broken.what, broken.expected, broken.happened)
        return Chapter(title, FAILED, broken.what, "")
    except Refused as refusal:
        story.teller.wrong("a request", "the platform does what is asked", f"{refusal.code}: {refusal}")
        return Chapter(title, FAILED, str(refusal), "")
    except httpx.TransportError as error:
        said = story.server.last_words() or "it logged nothing"
        story.teller.wrong("asking the platform", "it answers", f"{error}; {said}")
        return Chapter(title, FAILED, "the platform did not answer", "")
    return Chapter(title, PASSED, proof.shown, proof.measured)


def _serve_on(server: Server, operator: Member, teller: Teller) -> None:
    """Let people look around until Ctrl-C. Raises `ServerEnded` if the server does not live to see it."""
    teller.say(f"\nThe platform serves on at {server.ready.url}. Ctrl-C stops it.")
    teller.copyable("Look at it (this link signs in once, within ten minutes):", operator.sign_in_link())
    teller.copyable("Ask it:", f"DURE_URL={server.ready.url} DURE_STATE={server.state} dure queue --all")
    with suppress(KeyboardInterrupt):
        server.wait()
        raise ServerEnded(f"the server ended: {server.last_words() or 'it logged nothing'}")
    teller.say("\nStopped.")


@contextmanager
def _any_end_in_order() -> Iterator[None]:
    """A closed terminal or a service manager's stop ends the story as Ctrl-C does."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
