"""`dure assess`: which duties apply by the facts in a file, what there is to show for them, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dure.cli.options import as_json, with_language, with_pack_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dure.governance.assessment import AssessedProvision, Assessment, HeldEvidence
    from dure.governance.evidence import Evidence
    from dure.governance.facts import FactValue
    from dure.governance.packs import Library
    from dure.governance.vocabulary import Fact

HEADINGS = ("STATUS", "PROVISION", "DUE", "MARK", "TITLE", "MISSING")
MOST_QUESTIONS = 5


@click.command()
@click.argument("model", metavar="[MODEL[@V]]", required=False)
@click.option("--facts", "facts_file", metavar="FILE", help="Facts as a YAML file; `-` reads standard input.")
@click.option("--evidence", "evidence_file", metavar="FILE", help="What is held: a YAML list.")
@click.option("--template", is_flag=True, help="Print a file of facts to fill in, with every question, and stop.")
@click.option("--pack", "chosen", metavar="NAME", multiple=True, help="Use this pack only; may be given again.")
@click.option("--on", "day", metavar="DATE", help="Assess as of this day.  [default: today]")
@click.option("--provision", "single", metavar="ID", help="Say of one provision why it applies and what is held.")
@click.option("--since", "earlier", metavar="FILE", help="Show what changed since an assessment that --json printed.")
@click.option("--all", "all_wanted", is_flag=True, help="Show also what does not apply or is for information.")
@with_pack_folder
@with_language
@as_json
def assess(
    model: str | None,
    facts_file: str | None,
    evidence_file: str | None,
    template: bool,
    chosen: tuple[str, ...],
    day: str | None,
    single: str | None,
    earlier: str | None,
    all_wanted: bool,
    folder: str | None,
    language: str,
    json_wanted: bool,
) -> None:
    """Assess a model against rule packs, by facts that you declare.

    Shows what applies, what there is to show for it, what is missing and until when. A fact that is not in the file
    is unknown, and what is unknown never counts as done. `dure packs PROVISION` shows a provision in full.

    With MODEL, the server joins what it recorded of the model with what `dure model facts` and `dure model evidence`
    declared. With --facts instead, no server is needed.
    """
    import msgspec

    from dure.cli.assessment_changes import read_assessment, show_changes
    from dure.cli.errors import BadInput
    from dure.cli.packs import load_library
    from dure.governance.assessment import assess

    library = load_library(folder)
    _refuse_unknown_packs(library, chosen)
    if template:
        _print_template(library, chosen, language)
        return
    if model is not None:
        if facts_file or evidence_file or chosen or day or folder:
            raise BadInput(f"{model}: the server assesses it, with its own packs and as of today; leave the others out")
        assessment = _of_server(model)
    elif facts_file is None:
        raise BadInput("name a MODEL, or --facts FILE; `dure assess --template` prints a file to fill in")
    else:
        facts, evidence = _read_facts(facts_file, library), _read_evidence(evidence_file, library)
        assessment = assess(library, facts, evidence, _day(day), chosen or None)
    if earlier is not None:
        show_changes(read_assessment(earlier), assessment, library, language, json_wanted)
        return
    one = None if single is None else _find(assessment, single)
    if json_wanted:
        click.echo(msgspec.json.encode(one or assessment).decode())
    elif one:
        _print_one(one, assessment, library, language)
    else:
        print_assessment(assessment, library, language, all_wanted=all_wanted)


def _of_server(model: str) -> Assessment:
    import msgspec

    from dure.cli.client import connect
    from dure.cli.model_names import named
    from dure.governance.assessment import Assessment

    server = connect()
    body = server.get(f"{named(model, server).version_path}/assessment")
    return msgspec.json.decode(body, type=Assessment)


def print_assessment(assessment: Assessment, library: Library, language: str, *, all_wanted: bool) -> None:
    """The provisions that need somebody, the questions to answer first, and what was left out of the list."""
    from dure.cli.tables import print_table
    from dure.governance.assessment import OPEN, Status
    from dure.governance.wording import NOT_LEGAL_ADVICE

    shown = [
        each
        for each in assessment.in_order_of_urgency()
        if all_wanted or each.status in OPEN or each.status is Status.EVIDENCE_HELD
    ]
    pinned = ", ".join(f"{pack.name} {pack.version}" for pack in assessment.packs)
    click.echo(f"{assessment.on}: {pinned}\n")
    if shown:
        print_table(HEADINGS, [_row(each, language) for each in shown])
        click.echo()
    _print_questions(assessment, library, language)
    _print_left_out([each for each in assessment.provisions if each not in shown], language)
    click.echo(NOT_LEGAL_ADVICE.told(language))


def _print_one(provision: AssessedProvision, assessment: Assessment, library: Library, language: str) -> None:
    """Why it applies or not, what is held and what is missing; `dure packs` tells what it says."""
    from dure.cli.packs import print_line, print_lines, source_in_words
    from dure.governance.wording import ANSWER, MARK, NOT_LEGAL_ADVICE, STATUS

    kinds = library.vocabulary.evidence
    click.echo(f"{provision.id}  {provision.title.told(language)}\n\n{provision.obligation.told(language)}\n")
    print_line("status", f"{STATUS[provision.status].told(language)} ({assessment.on})")
    print_line("applies", ANSWER[provision.applicability.answer].told(language))
    print_lines("because", [f"{fact} is {assessment.facts[fact]}" for fact in provision.applicability.decided_by])
    questions = [(fact, library.vocabulary.facts[fact].question) for fact in provision.applicability.missing]
    print_lines("not known", [f"{fact}: {question.told(language)}" for fact, question in questions])
    print_lines("held", [_held(each) for each in provision.held])
    print_lines("counts as held", [f"{each.kind}, by {each.by}" for each in provision.deemed])
    print_lines("missing", [f"{kind}: {kinds[kind].title.told(language)}" for kind in provision.missing_evidence])
    print_lines("optional", [f"{kind}: {kinds[kind].title.told(language)}" for kind in provision.optional_evidence])
    if provision.deadline or provision.deadline_needs:
        print_line("due", provision.deadline or f"not known until {provision.deadline_needs} is")
    print_line("checked", f"[{provision.mark}] {MARK[provision.mark].told(language)}; {provision.checked_on}")
    print_lines("source", [source_in_words(each) for each in provision.source])
    click.echo(f"\n{NOT_LEGAL_ADVICE.told(language)}")


def _held(evidence: HeldEvidence) -> str:
    kept = f", to be kept until {evidence.keep_until}" if evidence.keep_until else ""
    return f"{evidence.kind}: {evidence.reference}, since {evidence.since}{kept}"


def _find(assessment: Assessment, id: str) -> AssessedProvision:
    from dure.cli.errors import BadInput
    from dure.intake.refusals import did_you_mean

    found = next((each for each in assessment.provisions if each.id == id), None)
    if found is None:
        hint = did_you_mean(id, [each.id for each in assessment.provisions])
        raise BadInput(f"--provision {id}: not in the packs that were assessed; {hint}")
    return found


def _row(provision: AssessedProvision, language: str) -> tuple[str, ...]:
    from dure.governance.assessment import Status
    from dure.governance.wording import STATUS

    if provision.status is Status.NEEDS_FACTS:
        missing = f"{', '.join(provision.applicability.missing)}?"
    else:
        missing = ", ".join(provision.missing_evidence)
    mark = f"{provision.mark} {provision.checked_on}"
    title = provision.title.told(language)
    return STATUS[provision.status].told(language), provision.id, provision.deadline or "-", mark, title, missing or "-"


def _print_questions(assessment: Assessment, library: Library, language: str) -> None:
    questions = assessment.open_questions()
    for name in questions[:MOST_QUESTIONS]:
        click.echo(f"? {name}: {library.vocabulary.facts[name].question.told(language)}")
    if len(questions) > MOST_QUESTIONS:
        click.echo(f"? and {len(questions) - MOST_QUESTIONS} more: `dure assess --template` has all questions")
    if questions:
        click.echo()


def _print_left_out(left_out: Sequence[AssessedProvision], language: str) -> None:
    from collections import Counter

    from dure.governance.wording import STATUS

    counts = Counter(each.status for each in left_out)
    if counts:
        told = ", ".join(f"{counts[status]} {STATUS[status].told(language)}" for status in STATUS if counts[status])
        click.echo(f"{told} (--all)")


def _print_template(library: Library, chosen: Sequence[str], language: str) -> None:
    provisions = [each for pack, each in library.provisions() if not chosen or pack.name in chosen]
    asked = {fact for provision in provisions for fact in provision.facts()}
    for name, fact in library.vocabulary.facts.items():
        if name in asked:
            click.echo("\n".join(_template_lines(fact, language)))


def _template_lines(fact: Fact, language: str) -> Iterable[str]:
    yield f"# {fact.question.told(language)}"
    yield f"# {_possible_values(fact)}"
    yield f"{fact.name}: unknown\n"


def _possible_values(fact: Fact) -> str:
    from dure.governance.vocabulary import FactType

    match fact.type:
        case FactType.YES_NO:
            return "yes | no | unknown"
        case FactType.CHOICE:
            return " | ".join(fact.words)
        case FactType.CHOICES:
            return f"none, or a list of {', '.join(fact.words)}"
        case FactType.AMOUNT:
            return f"{fact.unit}, or {{least: ..., most: ...}}"
        case FactType.DAY:
            return "a day such as 2026-01-22"
        case FactType.COUNTRY:
            return "a country such as KR"


def _refuse_unknown_packs(library: Library, chosen: Sequence[str]) -> None:
    from dure.cli.errors import BadInput
    from dure.intake.refusals import did_you_mean

    for name in chosen:
        if library.pack(name) is None:
            raise BadInput(f"--pack {name}: no such pack; {did_you_mean(name, [each.name for each in library.packs])}")


def _read_facts(file: str, library: Library) -> dict[str, FactValue]:
    from dure.cli.documents import read_document
    from dure.cli.errors import BadInput as Refused
    from dure.governance.facts import read_facts
    from dure.governance.pack_reader import problems_in
    from dure.intake.documents import read_yaml
    from dure.intake.refusals import BadInput

    document = read_document(file).decode()
    try:
        with problems_in("standard input" if file == "-" else file):
            return read_facts(read_yaml(document), library.vocabulary)
    except BadInput as error:
        raise Refused(str(error)) from None


def _read_evidence(file: str | None, library: Library) -> list[Evidence]:
    from dure.cli.documents import read_document
    from dure.cli.errors import BadInput as Refused
    from dure.governance.evidence import read_evidence
    from dure.governance.pack_reader import problems_in
    from dure.intake.documents import read_yaml
    from dure.intake.refusals import BadInput

    if file is None:
        return []
    document = read_document(file).decode()
    try:
        with problems_in("standard input" if file == "-" else file):
            return read_evidence(read_yaml(document), library.vocabulary)
    except BadInput as error:
        raise Refused(str(error)) from None


def _day(text: str | None) -> str:
    """The day that was asked for, or today where this machine is: law counts days, and its day begins at home."""
    from datetime import datetime

    from dure.cli.errors import BadInput
    from dure.model.dates import parse_day
    from dure.model.units import UnitError

    if text is None:
        return datetime.now().astimezone().date().isoformat()
    try:
        return parse_day(text)
    except UnitError:
        raise BadInput(f"--on: {text!r} is not a day; write it like 2026-01-22") from None
