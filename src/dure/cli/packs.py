"""`dure packs`: which law and which standards there are as data, and what each provision says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dure.cli.options import as_json, with_language, with_pack_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dure.governance.packs import Library, Pack, Provision, Source

LARGEST_FOLDER = 200
PACK_HEADINGS = ("PACK", "VERSION", ">PROVISIONS", ">V", ">S", ">M", "CHECKED", "TITLE")
PROVISION_HEADINGS = ("PROVISION", "KIND", "MARK", "FROM", "TO", "ARTICLE", "TITLE")
NAME_WIDTH = 16


@click.command()
@click.argument("name", required=False)
@with_pack_folder
@with_language
@as_json
def packs(name: str | None, folder: str | None, language: str, json_wanted: bool) -> None:
    """List rule packs; with NAME, the provisions of a pack, or one provision in full.

    V, S and M are marks: seen in the text itself or in two sources that agree; seen in one secondary source; from
    memory, not verified. Needs no server.
    """
    library = load_library(folder)
    if name is None:
        _show_packs(library, language, json_wanted)
    elif pack := library.pack(name):
        _show_pack(pack, language, json_wanted)
    else:
        _show_provision(library, name, language, json_wanted)


def load_library(folder: str | None) -> Library:
    """The shipped packs, and those of an operator's folder on top of them."""
    from dure.cli.documents import read_document
    from dure.cli.errors import BadInput as Refused
    from dure.governance.library import SUFFIX, read_library, shipped_library
    from dure.intake.refusals import BadInput

    if folder is None:
        return shipped_library()
    if not Path(folder).is_dir():
        raise Refused(f"{folder}: no such folder")
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix == SUFFIX)
    if not paths:
        raise Refused(f"{folder}: no rule pack in it; a pack is a file whose name ends with {SUFFIX}")
    if len(paths) > LARGEST_FOLDER:
        raise Refused(f"{folder}: more than {LARGEST_FOLDER} files; name a folder that holds only rule packs")
    try:
        return read_library({path.name: read_document(str(path)).decode() for path in paths}, shipped_library())
    except BadInput as error:
        raise Refused(str(error)) from None


def _show_packs(library: Library, language: str, json_wanted: bool) -> None:
    from collections import Counter

    import msgspec

    from dure.cli.tables import print_table
    from dure.governance.packs import Mark

    if json_wanted:
        listed = [
            {"name": pack.name, "version": pack.version, "digest": pack.digest, "provisions": len(pack.provisions)}
            for pack in library.packs
        ]
        click.echo(msgspec.json.encode(listed).decode())
        return
    rows = []
    for pack in library.packs:
        marks = Counter(each.checked.mark for each in pack.provisions)
        days = sorted({each.checked.on for each in pack.provisions})
        counts = [str(marks[mark]) for mark in Mark]
        checked = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        title = pack.title.told(language)
        rows.append((pack.name, pack.version, str(len(pack.provisions)), *counts, checked, title))
    print_table(PACK_HEADINGS, rows)


def _show_pack(pack: Pack, language: str, json_wanted: bool) -> None:
    import msgspec

    from dure.cli.tables import print_table
    from dure.governance.wording import KIND

    if json_wanted:
        click.echo(msgspec.json.encode(pack).decode())
        return
    click.echo(f"{pack.title.told(language)}\n{pack.name} {pack.version}, sha256 {pack.digest}\n")
    rows = [
        (
            each.id,
            KIND[each.kind].told(language),
            each.checked.mark.value,
            each.effective_from or "-",
            each.effective_to or "-",
            each.article,
            each.title.told(language),
        )
        for each in pack.provisions
    ]
    print_table(PROVISION_HEADINGS, rows)


def _show_provision(library: Library, name: str, language: str, json_wanted: bool) -> None:
    import msgspec

    from dure.cli.errors import BadInput
    from dure.intake.refusals import did_you_mean

    by_id = {provision.id: (pack, provision) for pack, provision in library.provisions()}
    if name not in by_id:
        known = [*(pack.name for pack in library.packs), *by_id]
        raise BadInput(
            f"{name}: no such pack or provision; {did_you_mean(name, known, '`dure packs` lists all packs')}"
        )
    pack, provision = by_id[name]
    if json_wanted:
        click.echo(msgspec.json.encode(provision).decode())
    else:
        _print_provision(library, pack, provision, language)


def _print_provision(library: Library, pack: Pack, provision: Provision, language: str) -> None:
    from dure.governance.wording import KIND, MARK, NOT_LEGAL_ADVICE, condition_in_lines, deadline_in_words

    click.echo(f"{provision.id}  {provision.title.told(language)}")
    where = f"{provision.instrument.told(language)}, {provision.article} ({provision.jurisdiction})"
    click.echo(f"{where}: {KIND[provision.kind].told(language)}\n\n{provision.obligation.told(language)}\n")
    print_line("in force", f"{provision.effective_from or 'start not recorded'} to {provision.effective_to or 'open'}")
    print_lines("applies when", list(condition_in_lines(provision.applies_when)))
    evidence = library.vocabulary.evidence
    print_lines(
        "evidence",
        [
            f"{need.kind}: {evidence[need.kind].title.told(language)}{' (optional)' if need.optional else ''}"
            for need in provision.evidence
        ],
    )
    if provision.deadline:
        print_line("deadline", deadline_in_words(provision.deadline))
    if provision.retention:
        print_line("kept for", provision.retention.written)
    print_lines("counts for", [f"{', '.join(each.evidence)} of {each.provision}" for each in provision.deems])
    print_lines("penalty", _penalties(pack, provision, language))
    if provision.supersedes:
        print_line("supersedes", provision.supersedes)
    if provision.cedar_ref:
        print_line("enforced by", ", ".join(provision.cedar_ref))
    for each in provision.guidance:
        print_line("guidance", f"[{each.mark}, not law] {each.text.told(language)}")
    checked = provision.checked
    print_line("checked", f"[{checked.mark}] {MARK[checked.mark].told(language)}; {checked.on}, {checked.by}")
    print_lines("source", [source_in_words(each) for each in provision.source])
    print_line("pack", f"{pack.name} {pack.version}, sha256 {pack.digest}")
    click.echo(f"\n{NOT_LEGAL_ADVICE.told(language)}")


def source_in_words(source: Source) -> str:
    """What it is, where and when it was read, and what is not known of it."""
    facts = [source.title, source.url, source.retrieved and f"read {source.retrieved}", source.sha256, source.note]
    return "; ".join(fact for fact in facts if fact)


def _penalties(pack: Pack, provision: Provision, language: str) -> list[str]:
    from dure.governance.wording import fine_in_words

    if provision.fine is not None:
        return [fine_in_words(provision.fine)]
    found = [pack.provision(id) for id in provision.penalty]
    return [
        f"{each.id}: {each.title.told(language)}, {fine_in_words(each.fine)}" for each in found if each and each.fine
    ]


def print_line(name: str, text: str) -> None:
    """A line with its name to the left."""
    click.echo(f"{name:<{NAME_WIDTH}}{text}")


def print_lines(name: str, lines: Sequence[str]) -> None:
    """Lines under one name; nothing where there are none."""
    for index, line in enumerate(lines):
        print_line("" if index else name, line)
