"""Shell scripts with `#SBATCH` headers: what people already have for Slurm becomes a job here.

Every option is read, noted as a warning because it has no effect here, or refused. None is passed over in silence: an
option that somebody wrote and nobody honoured is how a job surprises its owner.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping

from msgspec import Struct

from dure.intake.fields import GPU_CLASS, Problems
from dure.intake.jobfile import job_from_document
from dure.intake.refusals import BadInput, Problem, did_you_mean, shown
from dure.model.jobs import JobSpec
from dure.model.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, UnitError, format_duration, parse_memory

_SHORT = {
    "A": "account",
    "a": "array",
    "b": "begin",
    "C": "constraint",
    "c": "cpus-per-task",
    "D": "chdir",
    "d": "dependency",
    "e": "error",
    "G": "gpus",
    "i": "input",
    "J": "job-name",
    "N": "nodes",
    "n": "ntasks",
    "o": "output",
    "p": "partition",
    "Q": "quiet",
    "q": "qos",
    "s": "oversubscribe",
    "t": "time",
    "v": "verbose",
    "w": "nodelist",
    "x": "exclude",
}
_WITHOUT_VALUE = {"requeue", "no-requeue", "exclusive", "verbose", "quiet", "parsable", "overcommit", "oversubscribe"}
_NO_EFFECT = {
    "output": "the platform keeps the output of every rank; read it with `dure logs`",
    "error": "the platform keeps the output of every rank; read it with `dure logs`",
    "open-mode": "the platform keeps the output of every attempt; read it with `dure logs`",
    "qos": "priority between projects comes from shares here",
    "partition": "the platform chooses the nodes; name a GPU class to choose hardware",
    "mail-type": "no mail is sent; follow the job with `dure queue` or `dure why`",
    "mail-user": "no mail is sent; follow the job with `dure queue` or `dure why`",
    "comment": "comments are not kept",
    "requeue": "a preempted job always goes back to the queue here",
    "verbose": "it only changes what Slurm prints",
    "quiet": "it only changes what Slurm prints",
    "parsable": "it only changes what Slurm prints",
}
_NOT_OFFERED = {
    "exclusive": "ask for all GPUs or CPUs of a node instead",
    "overcommit": "ask for the CPUs the job needs",
    "oversubscribe": "ask for a part of a GPU with a job file, such as gpus: 0.5",
    "constraint": "name a GPU class to choose hardware",
    "nodelist": "the platform chooses the nodes",
    "exclude": "the platform chooses the nodes",
    "reservation": "remove it",
    "licenses": "remove it",
    "begin": "use a job file with not_before",
    "deadline": "use a job file with deadline",
    "input": "read the file in the script",
    "mem-per-gpu": "use --mem, which is per node",
    "cpus-per-gpu": "use --cpus-per-task",
    "gpus-per-task": "use --gpus-per-node",
    "wrap": "write the command into the script",
}
_USED = (
    "account",
    "array",
    "chdir",
    "cpus-per-task",
    "dependency",
    "export",
    "gpus",
    "gpus-per-node",
    "gres",
    "job-name",
    "mem",
    "mem-per-cpu",
    "nodes",
    "no-requeue",
    "ntasks",
    "ntasks-per-node",
    "signal",
    "time",
)
_KNOWN = tuple(sorted({*_USED, *_NO_EFFECT, *_NOT_OFFERED}))

_SLURM_TIME = re.compile(r"(?:(?P<days>\d{1,6})-)?(?P<first>\d{1,9})(?::(?P<second>\d{1,4}))?(?::(?P<third>\d{1,4}))?")
_TYPED_COUNT = re.compile(r"(?:(?P<gpu_class>[A-Za-z][A-Za-z0-9._-]*)(?::(?P<typed>\d{1,6}))?|(?P<plain>\d{1,6}))")
_COUNT = re.compile(r"\d{1,6}")
_AFTER_OK = re.compile(r"afterok(?::j\d+(?:_\d+)?)+")
_SIGNAL = re.compile(r"(?:[BR]+:)?(?P<signal>[A-Za-z]+\d?|\d+)(?:@(?P<seconds>\d+))?")
_SIGNAL_NUMBERS = {"1": "HUP", "2": "INT", "3": "QUIT", "10": "USR1", "12": "USR2", "15": "TERM"}
_SRUN = re.compile(r"^\s*srun\b", re.MULTILINE)


class SbatchJob(Struct, frozen=True, kw_only=True):
    """The job a script asks for, and what its headers asked for that has no effect here."""

    spec: JobSpec
    warnings: tuple[str, ...]


def job_from_sbatch(script: str, defaults: Mapping[str, object] | None = None) -> SbatchJob:
    """The job in a shell script with `#SBATCH` headers; `defaults` are as for `job_from_document`.

    Raises `BadInput` with every problem, each naming the option as it is written in the script.
    """
    headers = _Headers(script)
    document = _Translation(headers).document()
    document["script"] = script
    try:
        spec = job_from_document(document, defaults)
    except BadInput as error:
        headers.problems.extend(_in_slurm_words(each, headers) for each in error.problems)
        headers.problems.raise_if_any()
        raise
    headers.problems.raise_if_any()
    return SbatchJob(spec=spec, warnings=(*headers.warnings, *_about_ranks(script, spec)))


class _Headers:
    """The options of a script by long name, with problems and warnings about those that are not used."""

    def __init__(self, script: str) -> None:
        self.problems = Problems()
        self.warnings: list[str] = []
        self.options: dict[str, str] = {}
        lines = script.splitlines()
        end = next(
            (n for n, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), len(lines)
        )
        for line in lines[:end]:
            if line.startswith("#SBATCH"):
                self._read_line(line.removeprefix("#SBATCH"))
        if any(line.startswith("#SBATCH") for line in lines[end:]):
            self.warnings.append("#SBATCH lines after the first command are ignored, as Slurm does")

    def _read_line(self, line: str) -> None:
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            self.problems.add("#SBATCH", line.strip(), f"cannot be read: {error}")
            return
        while words:
            self._read_option(words)

    def _read_option(self, words: list[str]) -> None:
        """Takes one option and its value from the front of `words`."""
        word = words.pop(0)
        name, value = _split_option(word)
        if name is None:
            self.problems.add("#SBATCH", word, "is not an option", "write it like --time=4:00:00")
            return
        if value is None and name not in _WITHOUT_VALUE:
            value = words.pop(0) if words and not words[0].startswith("--") else ""
        self._sort_out(name, value or "")

    def _sort_out(self, name: str, value: str) -> None:
        if name in _NO_EFFECT:
            self.warnings.append(f"--{name} has no effect here: {_NO_EFFECT[name]}")
        elif name in _NOT_OFFERED:
            self._refuse(name, value, "is not offered", _NOT_OFFERED[name])
        elif name not in _USED:
            self._refuse(name, value, "is not a known option", did_you_mean(name, _KNOWN, "remove it"))
        elif not value and name not in _WITHOUT_VALUE:
            self._refuse(name, value, "has no value", f"write --{name}=...")
        else:
            self.options[name] = value

    def _refuse(self, name: str, value: str, message: str, hint: str) -> None:
        field = f"--{shown(name)}"
        self.problems.extend([Problem(field=field, value=shown(value) if value else "", message=message, hint=hint)])


class _Translation:
    """Slurm's options said as the fields of a job file. What Slurm counts per task or in total becomes per node."""

    def __init__(self, headers: _Headers) -> None:
        self._options = headers.options
        self._problems = headers.problems
        self._warnings = headers.warnings
        self._least_nodes = 0
        self._nodes = self._count_nodes()
        self._tasks_per_node = self._count_tasks_per_node()

    def document(self) -> dict[str, object]:
        """The fields that the options speak of."""
        parts: dict[str, Callable[[], object]] = {
            "name": lambda: self._options.get("job-name"),
            "project": lambda: self._options.get("account"),
            "workdir": lambda: self._options.get("chdir"),
            "nodes": lambda: self._nodes,
            "min_nodes": lambda: self._least_nodes or None,
            "gpus": self._gpus,
            "cpus": self._cpus,
            "memory": self._memory,
            "time": self._time,
            "array": self._array,
            "depends": self._depends,
            "checkpoint": self._checkpoint,
            "env": self._env,
            "preemptible": lambda: False if "no-requeue" in self._options else None,
        }
        values = {field: translate() for field, translate in parts.items()}
        return {field: value for field, value in values.items() if value is not None}

    def _refuse(self, option: str, message: str, hint: str = "") -> None:
        self._problems.add(f"--{option}", self._options.get(option), message, hint)

    def _count(self, option: str, otherwise: int) -> int:
        value = self._options.get(option)
        if value is None:
            return otherwise
        if _COUNT.fullmatch(value) and int(value) > 0:
            return int(value)
        self._refuse(option, "must be a whole number of at least 1")
        return otherwise

    def _count_nodes(self) -> int:
        least, dash, most = self._options.get("nodes", "").partition("-")
        if dash and least == most:
            self._options["nodes"] = least
        elif dash:
            return self._range_of_nodes(least, most)
        return self._count("nodes", 1)

    def _range_of_nodes(self, least: str, most: str) -> int:
        """`--nodes=2-8`: the most, and the least beside it. What is counted over all nodes would change with them."""
        if not (_COUNT.fullmatch(least) and _COUNT.fullmatch(most)):
            self._refuse("nodes", "is not a range of nodes", "write it like --nodes=2-8")
            return 1
        if int(least) < int(most) and "signal" not in self._options:
            message = "a range needs a checkpoint: with another number of nodes a job goes on from what it saved"
            self._refuse("nodes", message, "add a line such as #SBATCH --signal=B:USR1@120")
            return 1
        for option in ("gpus", "ntasks"):
            if option in self._options:
                self._refuse(option, "counts over all nodes, and their number is a range", f"use --{option}-per-node")
        self._least_nodes = int(least)
        return max(1, int(most))

    def _count_tasks_per_node(self) -> int:
        total = self._count("ntasks", self._nodes)
        if "nodes" not in self._options and "ntasks-per-node" in self._options and "ntasks" in self._options:
            self._nodes = -(-total // self._count("ntasks-per-node", 1))
        return self._count("ntasks-per-node", -(-total // self._nodes))

    def _cpus(self) -> int | None:
        if not {"cpus-per-task", "ntasks", "ntasks-per-node"} & self._options.keys():
            return None
        return self._count("cpus-per-task", 1) * self._tasks_per_node

    def _gpus(self) -> str | None:
        asked = [option for option in ("gpus-per-node", "gres", "gpus") if option in self._options]
        for extra in asked[1:]:
            self._refuse(extra, f"GPUs are already asked for with --{asked[0]}", "keep one of them")
        match asked[:1]:
            case ["gpus-per-node"]:
                return self._typed_count("gpus-per-node", self._options["gpus-per-node"])
            case ["gres"]:
                return self._gres()
            case ["gpus"]:
                return self._gpus_in_total()
            case _:
                return None

    def _gres(self) -> str | None:
        kind, _, rest = self._options["gres"].partition(":")
        if kind != "gpu" or "," in rest:
            self._refuse("gres", "only GPUs are offered", "write it like --gres=gpu:h100:8")
            return None
        return self._typed_count("gres", rest or "1")

    def _gpus_in_total(self) -> str | None:
        """`--gpus` counts over all nodes; a gang here has the same number on each."""
        wanted = self._typed_count("gpus", self._options["gpus"])
        if wanted is None:
            return None
        gpu_class, _, count = wanted.rpartition(":")
        if int(count) % self._nodes:
            self._refuse("gpus", f"does not divide evenly over {self._nodes} nodes", "use --gpus-per-node")
            return None
        return f"{gpu_class}:{int(count) // self._nodes}".removeprefix(":")

    def _typed_count(self, option: str, value: str) -> str | None:
        """`8`, `h100`, `h100:8` as a job file writes it."""
        match = _TYPED_COUNT.fullmatch(value)
        if match is None or (match["gpu_class"] and not GPU_CLASS.fullmatch(match["gpu_class"])):
            self._refuse(option, "is not a number of GPUs", "write it like 8 or h100:8, of one class")
            return None
        if match["plain"] is not None:
            return match["plain"]
        return f"{match['gpu_class']}:{match['typed'] or 1}"

    def _memory(self) -> str | None:
        if "mem" in self._options:
            mib = self._mib("mem")
        elif "mem-per-cpu" in self._options:
            mib = self._mib("mem-per-cpu") * (self._cpus() or 1)
        else:
            return None
        return f"{mib}MiB" if mib else None

    def _mib(self, option: str) -> int:
        """Slurm's memory is in megabytes unless a unit is written; `0`, all of a node, is refused."""
        value = self._options[option]
        try:
            mib = parse_memory(f"{value}M" if value.isdecimal() else value)
        except UnitError:
            self._refuse(option, "is not an amount of memory", "write it like 64G")
            return 0
        if mib == 0:
            self._refuse(option, "all the memory of a node is not offered", "name the amount, like 64G")
        return mib

    def _time(self) -> str | None:
        """All of Slurm's spellings; a lone number is minutes."""
        if "time" not in self._options:
            return None
        milliseconds = slurm_time_ms(self._options["time"])
        if not milliseconds:
            self._refuse("time", "is not a time limit", "write it like 240, 4:00:00 or 1-12:00:00; a job must have one")
            return None
        return format_duration(milliseconds)

    def _array(self) -> str | None:
        value = self._options.get("array")
        if value is None:
            return None
        if "," in value or ":" in value:
            self._refuse("array", "lists and steps are not offered yet", "write one range, like 0-9")
            return None
        return f"{value}-{value}" if value.isdecimal() else value

    def _depends(self) -> list[str] | None:
        value = self._options.get("dependency")
        if value is None:
            return None
        conditions = value.split(",")
        if not all(_AFTER_OK.fullmatch(each) for each in conditions):
            self._refuse(
                "dependency", "only afterok is offered", "write it like afterok:j12:j13, with ids of jobs here"
            )
            return None
        return list(dict.fromkeys(job for each in conditions for job in each.split(":")[1:]))

    def _checkpoint(self) -> dict[str, str] | None:
        value = self._options.get("signal")
        if value is None:
            return None
        match = _SIGNAL.fullmatch(value)
        if match is None:
            self._refuse("signal", "is not a signal", "write it like B:USR1@120")
            return None
        if match["seconds"]:
            self._warnings.append("the time in --signal has no effect here: the warning time of the platform applies")
        return {"signal": _SIGNAL_NUMBERS.get(match["signal"], match["signal"])}

    def _env(self) -> dict[str, str] | None:
        value = self._options.get("export")
        if value is None:
            return None
        env = {}
        for each in value.split(","):
            variable, equals, content = each.partition("=")
            if equals:
                env[variable] = content
            elif each == "ALL":
                self._warnings.append("--export=ALL has no effect here: the environment of your shell is not copied")
            elif each not in {"NONE", "NIL"}:
                self._problems.add("--export", variable, "has no value", f"write --export={variable}=value")
        return env or None


def slurm_time_ms(value: str) -> int | None:
    """Milliseconds from Slurm's time: minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]].

    None for anything else, also for `UNLIMITED`.
    """
    match = _SLURM_TIME.fullmatch(value.strip())
    if match is None:
        return None
    first, second, third = (int(match[part] or 0) for part in ("first", "second", "third"))
    if match["days"] is not None:
        return int(match["days"]) * DAY_MS + first * HOUR_MS + second * MINUTE_MS + third * SECOND_MS
    if match["third"] is not None:
        return first * HOUR_MS + second * MINUTE_MS + third * SECOND_MS
    return first * MINUTE_MS + second * SECOND_MS


def _split_option(word: str) -> tuple[str | None, str | None]:
    """Long name and value of `--name=value`, `--name`, `-Jvalue` or `-J`; no name when it is not an option."""
    if word.startswith("--") and len(word) > 2:
        name, equals, value = word[2:].partition("=")
        return name, value if equals else None
    if word.startswith("-") and word[1:2] in _SHORT:
        return _SHORT[word[1]], word[2:].removeprefix("=") or None
    return None, None


_OPTIONS_OF_FIELD = {
    "name": ("job-name",),
    "project": ("account",),
    "workdir": ("chdir",),
    "gpus": ("gpus-per-node", "gres", "gpus"),
    "nodes": ("nodes",),
    "min_nodes": ("nodes",),
    "cpus": ("cpus-per-task", "ntasks-per-node", "ntasks"),
    "memory": ("mem", "mem-per-cpu"),
    "time": ("time",),
    "array": ("array",),
    "depends": ("dependency",),
    "checkpoint": ("signal",),
    "env": ("export",),
}


def _in_slurm_words(problem: Problem, headers: _Headers) -> Problem:
    """A problem of the translated job, told with the option its author wrote."""
    field = re.split(r"[.\[]", problem.field)[0]
    options = _OPTIONS_OF_FIELD.get(field, ())
    written = [option for option in options if option in headers.options]
    if written:
        return Problem(field=f"--{written[0]}", value=problem.value, message=problem.message, hint=problem.hint)
    if options and problem.message == "is missing":
        hint = f"add a line such as #SBATCH --{options[0]}=my-{field}"
        return Problem(field=f"--{options[0]}", value="", message=problem.message, hint=hint)
    return problem


def _about_ranks(script: str, spec: JobSpec) -> list[str]:
    """Slurm runs a batch script on the first node only; here every node runs it."""
    warnings = []
    if spec.nodes > 1:
        warnings.append(f"the script runs on each of the {spec.nodes} nodes; NODE_RANK says on which")
    if _SRUN.search(script):
        warnings.append("there is no srun here: the script itself runs once on each node; remove srun")
    return warnings
