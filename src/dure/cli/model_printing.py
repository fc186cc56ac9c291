"""How models, versions, lineages and tasks are printed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from dure.cli.tables import print_table
from dure.governance.compute import Comparison, RecordedRange
from dure.governance.model_compute import Standing, VersionCompute
from dure.model.model_versions import JobRun, Task
from dure.model.units import HOUR_MS, WHOLE_GPU_MILLI
from dure.reports.models import LineageLine, LineageReport, ModelReport, VersionReport
from dure.reports.wording import rough_duration

VERSION_HEADINGS = (">V", "STATE", "REGISTERED (UTC)", "JOBS", "PARENTS", "METRICS")
TASK_HEADINGS = ("TASK", "WHAT", "MODEL", "DUE", "ABOUT")


def print_model(report: ModelReport) -> None:
    """A model: its aliases, its gate, and a line per version."""
    click.echo(f"model     {report.model}")
    for name, number in sorted(report.aliases.items()):
        click.echo(f"alias     {name} = {number}")
    for job in report.training:
        click.echo(f"training  {job}")
    for name, value in sorted(report.facts.items()):
        click.echo(f"fact      {name}: {_fact(value)}")
    if report.gate is not None:
        for bound in report.gate.bounds:
            click.echo(f"gate      {bound.metric}{_range(bound.at_least, bound.at_most)}")
        for duty in report.gate.duties:
            click.echo(f"gate      {duty} fulfilled")
    rows = [
        (
            str(line.version),
            line.state + ("!" if line.withdrawn_ancestors else ""),
            _day(line.registered_at_ms),
            ",".join(line.jobs) or "-",
            ",".join(line.parents) or "-",
            " ".join(f"{name}={value}" for name, value in sorted(line.metrics.items())) or "-",
        )
        for line in report.versions
    ]
    print_table(VERSION_HEADINGS, rows)
    if any(line.withdrawn_ancestors for line in report.versions):
        click.echo("! descends from a version that was withdrawn", err=True)
    if report.tasks:
        print_tasks(report.tasks)


def print_version(report: VersionReport) -> None:
    """A version, a fact a line."""
    for name, text in _facts_of(report):
        click.echo(f"{name:<12}{text}")


def print_lineage(report: LineageReport) -> None:
    """What a version descends from, and what descends from it."""
    for line in report.ancestors:
        click.echo(_lineage_text(line))
    for line in report.descendants:
        click.echo(f"{_lineage_text(line)} (descendant)")


def print_tasks(tasks: tuple[Task, ...]) -> None:
    """A line per task."""
    now_ms = time.time_ns() // 1_000_000
    rows = []
    for task in tasks:
        model = f"{task.model}@{task.version}" if task.version else str(task.model)
        rows.append((task.id, task.kind.value, model, _due(task.due_at_ms, now_ms), task.about or "-"))
    print_table(TASK_HEADINGS, rows)


def _facts_of(report: VersionReport) -> Iterator[tuple[str, str]]:
    making = report.making
    yield "version", report.model
    yield "state", report.state + (f": {report.withdrawn_because}" if report.withdrawn_because else "")
    for ancestor in report.withdrawn_ancestors:
        yield "warning", f"descends from {ancestor}, which was withdrawn"
    yield "registered", f"{_day(report.registered_at_ms)} UTC by {report.registered_by}"
    for alias in report.aliases:
        yield "alias", alias
    for parent in making.parents:
        yield "parent", str(parent)
    for base in making.bases:
        yield "base", f"{base.name} ({base.flop or 'unknown'} FLOP)"
    for run in making.jobs:
        yield "job", _run(run)
    if making.claim is not None:
        experts = f", active {making.claim.active_parameters:.3g}" if making.claim.active_parameters else ""
        yield "claim", f"parameters {making.claim.parameters:.3g}, tokens {making.claim.tokens:.3g}{experts}"
    yield from _compute(report.compute)
    for name, text in (("code", making.code), ("image", making.image), ("source", making.source)):
        if text:
            yield name, text
    for file in making.files:
        yield "file", f"{file.path} ({file.size:,} bytes, sha256 {file.sha256})"
    for evaluation in report.evaluations:
        by = f" by {evaluation.job}" if evaluation.job else ""
        yield "evaluation", " ".join(f"{metric}={value}" for metric, value in evaluation.metrics) + by
    for incident in report.incidents:
        yield "incident", f"{incident.kind.value} {incident.reference}, {_day(incident.at_ms)} UTC"
    for digest in report.bundles:
        yield "bundle", digest


def _compute(stated: VersionCompute) -> Iterator[tuple[str, str]]:
    yield "compute", f"{_flop(stated.own.measured)} metered from hardware time"
    if stated.own.claimed:
        differs = "; they DIFFER by more than 2x" if stated.own.comparison is Comparison.DIFFERS else ""
        yield "", f"{float(stated.own.claimed):.3g} FLOP claimed{differs}"
    yield "", f"{_flop(stated.cumulative)} with all that it was made from"
    for unknown in stated.own.unknown:
        yield "", f"unknown: {unknown}"
    for line in stated.thresholds:
        if line.standing is not Standing.BELOW:
            yield "threshold", f"{line.threshold} {line.standing.value} ({', '.join(line.provisions)})"


def _flop(recorded: RecordedRange) -> str:
    least, likely = float(recorded.least), float(recorded.likely)
    most = f"{float(recorded.most):.3g}" if recorded.most else "unknown"
    return f"{likely:.3g} FLOP ({least:.3g} to {most})"


def _run(run: JobRun) -> str:
    hours = ", ".join(
        f"{each.gpu_class} {each.gpu_milli_ms / (WHOLE_GPU_MILLI * HOUR_MS):,.2f} GPU-hours" for each in run.hardware
    )
    data = f", data {','.join(each.dataset for each in run.data)}" if run.data else ""
    under = f" under {','.join(run.agreements)}" if run.agreements else ""
    precision = run.precision.value if run.precision else "precision unknown"
    return f"{run.job}: {hours or 'no GPUs'}, {precision}{data}{under}"


def _lineage_text(line: LineageLine) -> str:
    parents = f" from {', '.join(line.parents)}" if line.parents else ""
    return f"{line.model}  {line.state or 'of another organisation'}{parents}"


def _range(at_least: str, at_most: str) -> str:
    return (f" at least {at_least}" if at_least else "") + (f" at most {at_most}" if at_most else "")


def _fact(value: str | tuple[str, ...] | dict[str, str]) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return value if isinstance(value, str) else ", ".join(value)


def _due(at_ms: int, now_ms: int) -> str:
    if not at_ms:
        return "-"
    return f"in {rough_duration(at_ms - now_ms)}" if at_ms > now_ms else f"{rough_duration(now_ms - at_ms)} overdue"


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"
