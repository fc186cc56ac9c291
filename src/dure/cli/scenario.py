"""`dure twin replay-scenario`: play a few events again and look at every decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dure.cli.options import as_json

if TYPE_CHECKING:
    from dure.model.plan import Decision
    from dure.twin.scenario import Decided


@click.command("replay-scenario")
@click.argument("file")
@as_json
def replay_scenario(file: str, json_wanted: bool) -> None:
    """Play FILE again: events and moments of decision, as a failed property test prints them.

    Prints every decision, and every rule that the audit finds broken; ends with 1 if there is one.
    """
    from dure.bootstrap import prepare_compilation
    from dure.cli.documents import read_document

    prepare_compilation()

    import msgspec

    from dure.cli.errors import BadInput
    from dure.sources.errors import BadSource
    from dure.twin.scenario import read_scenario, replay

    try:
        decided = list(replay(read_scenario(read_document(file).decode(), file), file))
    except BadSource as error:
        raise BadInput(str(error)) from None
    if json_wanted:
        click.echo(msgspec.json.encode(decided).decode())
    else:
        _print(decided)
    if any(each.violations for each in decided):
        raise SystemExit(1)


def _print(decided: list[Decided]) -> None:
    for each in decided:
        for decision in each.plan.decisions:
            click.echo(f"{each.plan.at_ms:>12,} ms  {_told(decision)}")
        for violation in each.violations:
            click.echo(f"{each.plan.at_ms:>12,} ms  BROKEN {violation}")
    broken = sum(len(each.violations) for each in decided)
    click.echo(f"{len(decided)} decisions, {broken} rules broken" if broken else f"{len(decided)} decisions, no fault")


def _told(decision: Decision) -> str:
    from dure.model.plan import Claim, Spare, Start, Stop, Warn

    match decision:
        case Start() | Claim():
            does = "starts" if isinstance(decision, Start) else "claims"
            places = "; ".join(
                f"{placement.node} GPU {','.join(map(str, placement.gpus)) or '-'}" for placement in decision.placements
            )
            borrowed = ", borrowed" if isinstance(decision, Start) and decision.borrowed else ""
            return f"{decision.job} {does} on {places}{borrowed}"
        case Warn():
            return f"{decision.job} must yield to {decision.claimant or 'a reservation'} by {decision.stop_at_ms:,} ms"
        case Spare():
            return f"{decision.job} is spared"
        case Stop():
            return f"{decision.job} is stopped: {decision.reason.value}"
