"""`dure policy`: show the rules, check one's own, try cases, and replay what was asked under changed rules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dure.cli.options import as_json, with_database, with_language

if TYPE_CHECKING:
    from dure.api.policy import PolicyReport
    from dure.governance.policy_replay import Changed
    from dure.model.events import AnyEvent
    from dure.policy import PermittedSites, PolicyInForce, PolicySet
    from dure.policy.cases import CaseFile, CaseOutcome

SUFFIX = ".cedar"
MOST_FILES = 500
RULE_HEADINGS = ("RULE", "EFFECT", "WHAT IT SAYS")
CHANGE_HEADINGS = (">ENTRY", "TIME (UTC)", "JOB", "ORGANISATION", "PURPOSE", "DATA", "BEFORE", "AFTER")


@click.group()
def policy() -> None:
    """Show the rules about data, and try others before two people put them in force.

    Cedar files of a programme's own are put in force with `dure proposal policy FOLDER`.
    """


@policy.command()
@click.argument("rule", required=False)
@click.option("--shipped", is_flag=True, help="Show the rules that come with Dure; needs no server.")
@with_language
@as_json
def show(rule: str | None, shipped: bool, language: str, json_wanted: bool) -> None:
    """List the rules in force; with RULE, show one in full."""
    import msgspec

    from dure.cli.tables import print_json, print_table

    report = _shipped_report() if shipped else _server_report()
    if rule is not None:
        report = _only(report, rule)
    if json_wanted:
        print_json(msgspec.json.encode(report))
    elif rule is not None:
        _print_rule(report, language)
    else:
        rows = [(each.rule.id, each.rule.effect, getattr(each.rule, f"title_{language}")) for each in report.rules]
        print_table(RULE_HEADINGS, rows)


def _server_report() -> PolicyReport:
    import msgspec

    from dure.api.policy import PolicyReport
    from dure.cli.client import connect

    return msgspec.json.decode(connect().get("/v1/policy"), type=PolicyReport)


def _shipped_report() -> PolicyReport:
    from dure.api.policy import report_of
    from dure.bootstrap import make_policy_set

    return report_of(make_policy_set())


def _only(report: PolicyReport, rule_id: str) -> PolicyReport:
    from dure.api.policy import PolicyReport
    from dure.cli.errors import BadInput
    from dure.intake.refusals import did_you_mean

    found = tuple(each for each in report.rules if each.rule.id == rule_id)
    if not found:
        hint = did_you_mean(rule_id, [each.rule.id for each in report.rules])
        raise BadInput(f"{rule_id}: there is no such rule; {hint}")
    return PolicyReport(rules=found)


def _print_rule(report: PolicyReport, language: str) -> None:
    [shown] = report.rules
    rule = shown.rule
    click.echo(f"{rule.id}: {rule.effect}, {'of this programme' if rule.is_own else 'comes with Dure'}")
    click.echo(getattr(rule, f"title_{language}"))
    if remedy := getattr(rule, f"remedy_{language}"):
        click.echo(f"What would help: {remedy}" if language == "en" else f"허용되려면: {remedy}")
    for provision in rule.law:
        click.echo(f"{'Enforces' if language == 'en' else '근거'}: {provision} (dure packs {provision})")
    click.echo(f"\n{shown.text.rstrip()}")


@policy.command()
@click.argument("folder")
def check(folder: str) -> None:
    """Check the Cedar files in FOLDER as they would be checked before they are in force.

    Prints every problem with its file; exit code 2 if there is any. Needs no server.
    """
    own = [each for each in _policy_set(folder).rules if each.is_own]
    forbids = sum(each.effect == "forbid" for each in own)
    counted = "1 rule" if len(own) == 1 else f"{len(own)} rules"
    click.echo(f"{folder}: {counted} can be used; {forbids} of {len(own)} forbid")


@policy.command()
@click.argument("file", metavar="FILE")
@as_json
def test(file: str, json_wanted: bool) -> None:
    """Try the cases in FILE: questions, each with the answer that is expected.

    Exit code 1 if any is answered otherwise. Needs no server.
    """
    import msgspec

    from dure.cli.tables import print_json
    from dure.policy.cases import try_case

    found = _read_cases(file)
    policy_in_force = _bind(found, Path(file).parent)
    outcomes = [try_case(policy_in_force, each) for each in found.cases]
    if json_wanted:
        print_json(msgspec.json.encode(outcomes))
    else:
        _print_outcomes(outcomes)
    sys.exit(1 if any(each.faults for each in outcomes) else 0)


def _print_outcomes(outcomes: list[CaseOutcome]) -> None:
    for outcome in outcomes:
        click.echo(f"{'not ok' if outcome.faults else 'ok':<7} {outcome.case.name}")
        for fault in outcome.faults:
            click.echo(f"        {fault}")
        for diagnostic in outcome.found.diagnostics if outcome.faults else ():
            click.echo(f"        {diagnostic}")
    failed = sum(bool(each.faults) for each in outcomes)
    click.echo(f"{len(outcomes):,} cases, {failed:,} answered otherwise than expected")


def _read_cases(file: str) -> CaseFile:
    from dure.cli.documents import read_document
    from dure.cli.errors import BadInput as Refused
    from dure.intake.policy_cases import cases_from_yaml
    from dure.intake.refusals import BadInput

    try:
        return cases_from_yaml(read_document(file).decode())
    except BadInput as error:
        raise Refused(f"{file}: {error}" if len(error.problems) == 1 else f"{file}:\n{error}") from None


def _bind(found: CaseFile, place: Path) -> PolicyInForce:
    """The rules and the facts that a file of cases names."""
    from dure.cli.documents import read_document
    from dure.cli.errors import BadInput as Refused
    from dure.intake.nationfile import nation_from_yaml
    from dure.intake.refusals import BadInput
    from dure.policy import PolicyInForce

    nation_file = str(place / found.nation_file)
    try:
        nation = nation_from_yaml(read_document(nation_file).decode())
    except BadInput as error:
        raise Refused(f"{nation_file}: {error}") from None
    policy_set = _policy_set(str(place / found.policies_folder) if found.policies_folder else None)
    return PolicyInForce(policy_set, nation, found.agreements, found.stop_orders, found.at_ms)


def _policy_set(folder: str | None) -> PolicySet:
    """The rules that come with Dure, and those in a folder. Raises `BadInput` with every problem."""
    from dure.bootstrap import make_policy_set
    from dure.cli.documents import read_document
    from dure.cli.errors import BadInput
    from dure.policy import PolicyError

    policy_set = make_policy_set()
    if folder is None:
        return policy_set
    if not Path(folder).is_dir():
        raise BadInput(f"{folder}: no such folder")
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix == SUFFIX)
    if len(paths) > MOST_FILES:
        raise BadInput(f"{folder}: more than {MOST_FILES} files; name a folder that holds only rules")
    try:
        return policy_set.with_own([(path.name, read_document(str(path)).decode()) for path in paths])
    except PolicyError as error:
        raise BadInput(f"{folder}: these rules cannot be used\n{error}") from None


@policy.command()
@click.argument("folder")
@click.option(
    "--state", metavar="FOLDER", envvar="DURE_STATE", default=".dure", show_default=True, help="State folder."
)
@with_database
@click.option("--remote", is_flag=True, help="Fetch entries from the server instead of reading its files.")
@as_json
def diff(folder: str, state: str, database: str | None, remote: bool, json_wanted: bool) -> None:
    """Ask again what the ledger says was asked, as if the Cedar files in FOLDER had been the programme's own rules.

    Lists each request that would have been answered otherwise, with the facts as they were then. Changes nothing; an
    empty folder stands for no rules of one's own.
    """
    import msgspec

    from dure.bootstrap import make_policy_set
    from dure.cli.tables import print_json, print_table
    from dure.governance.policy_replay import Replayed, replay

    changed, counts = _policy_set(folder), Replayed()
    found = list(replay(_entries(state, database, remote), make_policy_set(), changed, counts))
    if json_wanted:
        print_json(msgspec.json.encode({"requests": counts.requests, "changes": found}))
        return
    if found:
        print_table(CHANGE_HEADINGS, [_change_row(each) for each in found])
    asked = "1 request" if counts.requests == 1 else f"{counts.requests:,} requests"
    click.echo(f"{asked} asked again, {counts.changed:,} answered otherwise")


def _entries(state: str, database: str | None, remote: bool) -> Iterator[tuple[int, AnyEvent]]:
    from dure.cli.ledger import FetchedLog
    from dure.cli.log_source import opened_stored
    from dure.model.events import decode

    if remote:
        log = FetchedLog()
        log.checkpoints()
        yield from ((position, decode(body)) for batch in log.entries() for position, body in batch)
        return
    with opened_stored(Path(state), database) as stored:
        yield from ((position, decode(body)) for batch in stored.entries() for position, body in batch)


def _change_row(each: Changed) -> tuple[str, ...]:
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(each.at_ms / 1000, UTC)
    return (
        str(each.position),
        f"{at:%Y-%m-%d %H:%M:%S}",
        each.job or "refused",
        each.organisation,
        each.purpose,
        ", ".join(each.data) or "none",
        _answer(each.before),
        _answer(each.after),
    )


def _answer(found: PermittedSites) -> str:
    return f"at {', '.join(found.sites)}" if found.sites else f"refused: {', '.join(found.rules)}"
