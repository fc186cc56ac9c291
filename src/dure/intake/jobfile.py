"""The job file: what a member writes to have something run. YAML from people, JSON from programs, one meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from dure.intake.documents import read_json, read_yaml
from dure.intake.fields import (
    Entry,
    Problems,
    Reader,
    choice,
    duration,
    flag,
    gpu_request,
    inside,
    listing,
    mapping,
    matching,
    memory,
    moment,
    name,
    one_or_more,
    refuse_unknown,
    text,
    title,
    whole_number,
)
from dure.intake.refusals import BadInput, Problem, shown
from dure.intake.replicas import replicas
from dure.model.datasets import Purpose
from dure.model.fleet import MOST_GPUS_PER_NODE
from dure.model.jobs import (
    DEFAULT_TIME_MS,
    HIGHEST_PRIORITY,
    LARGEST_ARRAY,
    MOST_ALTERNATIVES,
    ArrayRange,
    Checkpoint,
    GpuRequest,
    JobSpec,
    Retry,
    Within,
)
from dure.model.model_versions import MODEL_NAME, Precision
from dure.model.units import DAY_MS, LONGEST_DURATION_MS, SECOND_MS, WHOLE_GPU_MILLI, format_duration

MOST_NODES = 100_000
MOST_CPUS = 4_096
MOST_NAMES = 100
"""Dependencies, datasets or secrets of one job."""
MOST_ENV = 1_000
MOST_ARGUMENTS = 4_096
LONGEST_ARGUMENT = 131_000
"""Characters; the kernel of Linux takes no argument or variable of more than 128 KiB."""
MOST_RETRIES = 100
LAST_ARRAY_TASK = 999_999

MOST_REMEMBERED_VALUES = 4_096

SIGNALS = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2")
"""Signals that may ask a job for a checkpoint."""

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_JOB_ID = re.compile(r"j\d{1,18}(?:_\d{1,6})?")
_ARRAY = re.compile(r"(?P<first>\d{1,9})-(?P<last>\d{1,9})")
_NODE_RANGE = re.compile(r"(?P<least>\d{1,6})[-:](?P<most>\d{1,6})")
_ARRAY_COUNT = re.compile(r"\d{1,9}")


def job_from_yaml(document: str, defaults: Mapping[str, object] | None = None) -> JobSpec:
    """The job in a job file. Raises `BadInput` with all that is wrong."""
    return job_from_document(read_yaml(document), defaults)


def job_from_json(body: bytes, defaults: Mapping[str, object] | None = None) -> JobSpec:
    """The job in a JSON document with the fields of a job file. Raises `BadInput` with all that is wrong."""
    return job_from_document(read_json(body), defaults)


def job_from_document(document: object, defaults: Mapping[str, object] | None = None) -> JobSpec:
    """The job that a document's values mean; `defaults` fill fields the document leaves out, such as `project`.

    Raises `BadInput` with all that is wrong.
    """
    if not isinstance(document, dict):
        hint = "start with a line such as name: my-job"
        raise BadInput([Problem(field="", value=shown(document), message="a job is a mapping of fields", hint=hint)])
    fields: dict[str, Any] = {**defaults, **document} if defaults else document
    problems = Problems()
    spec: dict[str, Any] = {}
    for field, value in fields.items():
        known = _READERS.get(field)
        if known is None:
            _refuse_field(problems, field)
        elif value is None:
            problems.add(field, value, "has no value", "give it one or remove the line")
        else:
            spec[known[0]] = _meaning(problems, field, value)
    _check_together(problems, fields, spec)
    problems.raise_if_any()
    return JobSpec(**spec)


def _meaning(problems: Problems, field: str, value: object) -> Any:
    """What a field's value means. Some values are written again and again, and each is read once."""
    if field in _RECURRING and type(value) is str and (meaning := _known_meaning(field, value)) is not None:
        return meaning
    return _READERS[field][1](problems, field, value)


@lru_cache(MOST_REMEMBERED_VALUES)
def _known_meaning(field: str, value: str) -> Any:
    """What a text means in a field, which depends on nothing else; None when something is wrong with it."""
    problems = Problems()
    meaning = _READERS[field][1](problems, field, value)
    return None if problems.found else meaning


def _refuse_field(problems: Problems, field: str) -> None:
    if field == "outputs":
        hint = "write results to the folder $DURE_OUTPUT, where they stay, and remove the field"
        problems.add_about_field(field, "is not needed", hint)
    else:
        refuse_unknown(problems, "", (field,), FIELDS)


def _check_together(problems: Problems, fields: Mapping[str, object], spec: dict[str, Any]) -> None:
    """Rules over more than one field."""
    if "name" not in fields:
        problems.add_missing("name", "add a line such as name: my-job")
    if "project" not in fields:
        problems.add_missing("project", "add a line such as project: my-project, or name it on the command line")
    if "command" in fields and "script" in fields:
        message, hint = "a job has either a command or a script, not both", "remove one of the two"
        problems.add_about_field("script", message, hint)
    if "command" not in fields and "script" not in fields:
        problems.add_missing("command", "add a command, or a script")
    for variable in sorted(set(spec.get("env", ())) & set(spec.get("secrets", ()))):
        problems.add("secrets", variable, "is also in env", "keep it in one of the two")
    if spec.get("within") is Within.NODE and spec.get("nodes", 1) > 1:
        problems.add("within", "node", f"{spec['nodes']} nodes cannot be within one node", "write within: site")
    _check_choices(problems, fields, spec)
    _check_dates(problems, fields, spec)
    if "min_nodes" in spec:
        _check_elastic(problems, fields, spec)
    if "replicas" in spec:
        _check_service(problems, fields, spec)
    if not spec.get("gpus") and "cpus" not in fields:
        # A job that takes nothing would never wait and never be accounted for.
        spec["cpus"] = 1


def _check_dates(problems: Problems, fields: Mapping[str, object], spec: dict[str, Any]) -> None:
    """There is a moment at which it could start. Which moments are past is asked when it is submitted."""
    not_before_ms, time_ms = spec.get("not_before_ms", 0), spec.get("time_ms", DEFAULT_TIME_MS)
    if 0 < spec.get("not_after_ms", 0) < not_before_ms:
        problems.add("not_after", fields["not_after"], "is before not_before", "swap them, or remove one")
    if not_before_ms and 0 < spec.get("deadline_ms", 0) < not_before_ms + time_ms:
        message = f"leaves less than the time limit of {format_duration(time_ms)} after not_before"
        problems.add("deadline", fields["deadline"], message, "ask for less time, or for a later deadline")


def _check_choices(problems: Problems, fields: Mapping[str, object], spec: dict[str, Any]) -> None:
    """A part of a GPU is for one node; and what a job counts does not depend on which of its choices it gets."""
    is_read = not any(problem.field.startswith("gpus") for problem in problems.found)
    choices = spec.get("gpus", ()) if is_read else ()
    written = fields.get("gpus")
    parts = [each for each in choices if each.profile or 0 < each.milli < WHOLE_GPU_MILLI]
    if parts and spec.get("nodes", 1) > 1:
        problems.add("gpus", written, "part of a GPU cannot be asked for on more than one node", "use nodes: 1")
    if len({(each.milli, bool(each.profile)) for each in choices}) > 1:
        hint = "ask for the same number of each class, or only for MIG slices"
        problems.add("gpus", written, "must ask for as much of each class", hint)


_NOT_FOR_SERVICES = {
    "min_nodes": "a service grows and shrinks by replicas; remove it",
    "time": "a service has no time limit; remove it",
    "checkpoint": "a replica begins anew each time; remove it",
    "retry": "a replica that ends is always started again; remove it",
    "array": "a job is an array or a service; remove one of the two",
    "not_after": "replicas start again at any time; remove it",
    "deadline": "a service runs until it is cancelled; remove it",
}


def _check_elastic(problems: Problems, fields: Mapping[str, object], spec: dict[str, Any]) -> None:
    """With another number of nodes a job begins a new attempt, so it must be able to go on from what it saved."""
    least, most = spec["min_nodes"], spec.get("nodes", 1)
    if least > most:
        problems.add("min_nodes", fields["min_nodes"], f"is more than nodes, which is {most:,}", "swap them")
    if "array" in spec:
        hint = "each task has its own nodes; remove one of the two"
        problems.add("min_nodes", fields["min_nodes"], "is not for an array", hint)
    if least < most and "checkpoint" not in fields and "replicas" not in spec:
        message = "needs a checkpoint: with another number of nodes a job goes on from what it saved"
        problems.add("min_nodes", fields["min_nodes"], message, "add checkpoint: {every: 30m, signal: USR1}")
    if least == most:
        spec["min_nodes"] = 0


def _check_service(problems: Problems, fields: Mapping[str, object], spec: dict[str, Any]) -> None:
    for field, hint in _NOT_FOR_SERVICES.items():
        if field in fields:
            problems.add(field, fields[field], "is not for a job with replicas", hint)
    spec["time_ms"] = 0


def _command(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    """A list is a program and its arguments; one text is a line for the shell, so that `$NODE_RANK` and `&&` work."""
    if isinstance(value, str):
        line = text(problems, field, value, LONGEST_ARGUMENT)
        if not line.strip():
            problems.add(field, value, "is empty")
        return ("bash", "-c", line)
    if isinstance(value, list) and _is_plain_command(value):
        return tuple(value)
    arguments = listing(problems, field, value, _argument, MOST_ARGUMENTS)
    if isinstance(value, list) and (not value or not arguments[:1] or not arguments[0]):
        problems.add(field, value, "names no program", "write it like [python, train.py]")
    return tuple(arguments)


def _is_plain_command(value: list[Any]) -> bool:
    """Nearly all are: a program and texts, none of them long. Looking at each by itself takes ten times as long."""
    if len(value) > MOST_ARGUMENTS or set(map(type, value)) != {str} or not value[0]:
        return False
    together = "".join(value)
    return len(together) <= LONGEST_ARGUMENT and "\0" not in together


def _argument(problems: Problems, field: str, value: object) -> str:
    """An argument or a variable: text, perhaps empty, or a number. What it says may be private, so it is not shown."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        problems.add_about_field(field, "must be text or a number", 'put it in quotes, like "true"')
        return ""
    if "\0" in value or len(value) > LONGEST_ARGUMENT:
        message = f"must be at most {LONGEST_ARGUMENT} characters and have no NUL character"
        problems.add_about_field(field, message, "keep long values in a file")
    return value


def _env(problems: Problems, field: str, value: object) -> dict[str, str]:
    variables = mapping(problems, field, value)
    if len(variables) > MOST_ENV:
        problems.add(field, f"{len(variables)} variables", f"has more than {MOST_ENV} variables")
        return {}
    for each in variables:
        _env_name(problems, inside(field, each), each)
    return {each: _argument(problems, inside(field, each), variables[each]) for each in variables}


def _env_name(problems: Problems, field: str, value: object) -> str:
    if not isinstance(value, str) or not _ENV_NAME.fullmatch(value):
        problems.add(
            field, value, "is not a name of a variable", "use letters, digits and _, not starting with a digit"
        )
        return ""
    if value.startswith("DURE_"):
        problems.add(field, value, "is set by the platform", "use a name that does not start with DURE_")
    return value


def _secrets(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    return one_or_more(problems, field, value, _env_name, MOST_NAMES)


def _nodes(problems: Problems, field: str, value: object) -> int:
    """A number. A range, as other systems write it, is told how to be written here."""
    match = _NODE_RANGE.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        hint = f"write nodes: {match['most']} and min_nodes: {match['least']}"
        problems.add(field, value, "is a range", hint)
        return 1
    return _NODE_COUNT(problems, field, value)


def _workdir(problems: Problems, field: str, value: object) -> str:
    path = text(problems, field, value, 4_096)
    if path and not path.startswith("/"):
        problems.add(field, value, "must be an absolute path", "start it with /")
    return path


def _gpus(problems: Problems, field: str, value: object) -> tuple[GpuRequest, ...]:
    """One request, or several in order of preference; `0` is no GPUs at all and has no place among several."""
    if isinstance(value, list):
        return one_or_more(problems, field, value, _gpus_of_an_alternative, MOST_ALTERNATIVES)
    request = _gpus_of_one_choice(problems, field, value)
    return (request,) if request.milli or request.profile else ()


def _gpus_of_an_alternative(problems: Problems, field: str, value: object) -> GpuRequest:
    before = len(problems.found)
    request = _gpus_of_one_choice(problems, field, value)
    if request.milli == 0 and not request.profile and len(problems.found) == before:
        problems.add(field, value, "asks for no GPUs", "remove it")
    return request


def _gpus_of_one_choice(problems: Problems, field: str, value: object) -> GpuRequest:
    request = gpu_request(problems, field, value)
    if request.milli > MOST_GPUS_PER_NODE * WHOLE_GPU_MILLI:
        problems.add(field, value, f"no node has more than {MOST_GPUS_PER_NODE} GPUs", "ask for more nodes instead")
    return request


def _checkpoint(problems: Problems, field: str, value: object) -> Checkpoint:
    """`30m`, or a mapping with `every` and `signal`."""
    if not isinstance(value, dict):
        return Checkpoint(every_ms=_INTERVAL(problems, field, value))
    entry = Entry(problems, field, value, ("every", "signal"))
    return Checkpoint(every_ms=entry.optional("every", _INTERVAL, 0), signal=entry.optional("signal", _signal, ""))


def _signal(problems: Problems, field: str, value: object) -> str:
    signal = value.upper().removeprefix("SIG") if isinstance(value, str) else ""
    if signal not in SIGNALS:
        problems.add(field, value, f"must be one of {', '.join(SIGNALS)}")
    return signal


def _retry(problems: Problems, field: str, value: object) -> Retry:
    """A number, or a mapping with `limit` and `backoff`."""
    if not isinstance(value, dict):
        return Retry(limit=_RETRIES(problems, field, value))
    entry = Entry(problems, field, value, ("limit", "backoff"))
    limit = entry.required("limit", _RETRIES, "add how often the job is tried again", 0)
    return Retry(limit=limit, backoff_ms=entry.optional("backoff", _BACKOFF, Retry().backoff_ms))


def _array(problems: Problems, field: str, value: object) -> ArrayRange:
    """`0-9`, or a number of tasks: `10` means `0-9`."""
    written = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if "%" in written:
        problems.add(field, value, "a throttle (%) is not offered yet", "leave it out; shares limit what runs at once")
        return ArrayRange(first=0, last=0)
    if match := _ARRAY.fullmatch(written):
        tasks = ArrayRange(first=int(match["first"]), last=int(match["last"]))
    elif _ARRAY_COUNT.fullmatch(written):
        tasks = ArrayRange(first=0, last=int(written) - 1)
    else:
        problems.add(field, value, "is not a range of tasks", "write it like 0-9, or 10 for ten tasks")
        return ArrayRange(first=0, last=0)
    count = tasks.last - tasks.first + 1
    if count < 1:
        problems.add(field, value, "has no tasks", "write it like 0-9, or 10 for ten tasks")
    elif count > LARGEST_ARRAY:
        problems.add(field, value, f"has more than {LARGEST_ARRAY:,} tasks", "split it into several jobs")
    elif tasks.last > LAST_ARRAY_TASK:
        problems.add(field, value, f"the last task must be at most {LAST_ARRAY_TASK:,}")
    return tasks


def _depends(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    return one_or_more(problems, field, value, _JOB, MOST_NAMES)


def _data(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    return one_or_more(problems, field, value, name, MOST_NAMES)


_JOB = matching(_JOB_ID, "must be the id of a job, like j12 or j12_0")
_MODEL = matching(MODEL_NAME, "must be lower-case letters, digits, '.', '_' and '-', at most 63")
_NODE_COUNT = whole_number(1, MOST_NODES)
_RETRIES = whole_number(0, MOST_RETRIES)
_BACKOFF = duration(0, DAY_MS, "at most a day")
_INTERVAL = duration(SECOND_MS, LONGEST_DURATION_MS, "at least a second")

_READERS: dict[str, tuple[str, Reader[Any]]] = {
    "name": ("name", title),
    "project": ("project", name),
    "purpose": ("purpose", choice(Purpose)),
    "command": ("command", _command),
    "script": ("script", text),
    "setup": ("setup", text),
    "workdir": ("workdir", _workdir),
    "env": ("env", _env),
    "secrets": ("secrets", _secrets),
    "nodes": ("nodes", _nodes),
    "min_nodes": ("min_nodes", whole_number(1, MOST_NODES)),
    "gpus": ("gpus", _gpus),
    "cpus": ("cpus", whole_number(1, MOST_CPUS)),
    "memory": ("memory_mib", memory),
    "time": ("time_ms", duration(SECOND_MS, LONGEST_DURATION_MS, "between one second and ten years")),
    "within": ("within", choice(Within)),
    "priority": ("priority", whole_number(0, HIGHEST_PRIORITY)),
    "preemptible": ("preemptible", flag),
    "checkpoint": ("checkpoint", _checkpoint),
    "retry": ("retry", _retry),
    "array": ("array", _array),
    "replicas": ("replicas", replicas),
    "depends": ("depends", _depends),
    "data": ("data", _data),
    "sandbox": ("sandbox", flag),
    "trains": ("trains", _MODEL),
    "precision": ("precision", choice(Precision)),
    "not_before": ("not_before_ms", moment),
    "not_after": ("not_after_ms", moment),
    "deadline": ("deadline_ms", moment),
}
"""Every field of a job file: the field of `JobSpec` it becomes, and what reads it."""

_RECURRING = frozenset({"project", "purpose", "gpus", "memory", "time", "within", "checkpoint"})
"""Fields of which many jobs say the same, and that mean the same wherever and whenever they are read."""

FIELDS = tuple(_READERS)
"""Names of all fields, in the order of the reference page."""
