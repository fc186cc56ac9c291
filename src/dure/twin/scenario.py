"""A scenario: what happened to a small nation, and when it was decided, as a file to play again.

It is YAML: a list of the ledger's own events, without plans, and of `{event: decide, at_ms: ...}`. The first step
declares the nation. Property tests print the smallest example that breaks a rule as such a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import yaml
from msgspec import Struct

from dure.audit import Books, Violation
from dure.kernel import decide
from dure.model.events import (
    AttemptEnded,
    AttemptStarted,
    CancelRequested,
    FleetEvent,
    JobReleased,
    JobSubmitted,
    NationApplied,
    NodeChanged,
    Planned,
)
from dure.model.plan import Plan
from dure.sources.errors import BadSource
from dure.world.world import World


class Decide(Struct, frozen=True, kw_only=True, tag="decide", tag_field="event"):
    """The kernel decides."""

    at_ms: int


Step = FleetEvent | Decide


class Decided(Struct, frozen=True, kw_only=True):
    """What the kernel decided, and what the audit has to say about it."""

    plan: Plan
    violations: tuple[Violation, ...]


def scenario_text(steps: Sequence[Step]) -> str:
    """The steps as a scenario file."""
    plain = [msgspec.json.decode(msgspec.json.encode(step)) for step in steps]
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    return text


def read_scenario(text: str, name: str) -> list[Step]:
    """The steps of a scenario file. Raises `BadSource` for what is no scenario; `name` is what to call the file."""
    try:
        steps: list[Step] = msgspec.convert(yaml.safe_load(text) or [], list[Step])
    except yaml.YAMLError as error:
        raise BadSource(f"{name}: not YAML ({' '.join(str(error).split())})") from None
    except msgspec.ValidationError as error:
        raise BadSource(f"{name}: {error}; `$[0]` is the first step") from None
    if not steps or not isinstance(steps[0], NationApplied):
        raise BadSource(f"{name}: step 0 must declare the nation (event: nation-applied)")
    for number, step in enumerate(steps):
        if isinstance(step, Planned):
            raise BadSource(f"{name}: step {number}: plans are the kernel's to make; write `event: decide`")
        if number and step.at_ms < steps[number - 1].at_ms:
            raise BadSource(f"{name}: step {number}: at_ms {step.at_ms} is before the step above")
    return steps


def replay(steps: Sequence[Step], name: str) -> Iterator[Decided]:
    """Play a scenario again, decision by decision. Raises `BadSource` for a job or node that there is not."""
    world, books = World(), Books()
    for number, step in enumerate(steps):
        if isinstance(step, Decide):
            plan = decide(world, step.at_ms)
            yield Decided(plan=plan, violations=tuple(books.check(plan, step.at_ms)))
            books.apply(Planned(at_ms=step.at_ms, plan=plan))
            continue
        problem = _problem(world, step)
        if problem:
            raise BadSource(f"{name}: step {number}: {problem}")
        world.apply(step)
        books.apply(step)


def _problem(world: World, step: FleetEvent) -> str:
    """What makes an event impossible in this world; empty when it may happen."""
    match step:
        case JobSubmitted() if step.job in world.jobs:
            return f"there is a job {step.job} already"
        case JobSubmitted():
            classes = {each.name for each in world.nation.gpu_classes}
            unknown = sorted({gpu_class for gpu_class, _ in step.gpus} - classes)
            return f"the nation has no GPU class {unknown[0]}" if unknown else ""
        case AttemptEnded() | AttemptStarted() | CancelRequested() | JobReleased() if step.job not in world.jobs:
            return f"there is no job {step.job}"
        case NodeChanged() if not world.atlas.has_node(step.node):
            return f"there is no node {step.node}"
        case _:
            return ""
