"""`dure assess --since`: what changed since an earlier assessment, as things to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dure.governance.assessment import Assessment
    from dure.governance.changes import Task
    from dure.governance.packs import Library

HEADINGS = ("PROVISION", "STATUS", "DUE", "CHANGED", "WHY")


def show_changes(old: Assessment, new: Assessment, library: Library, language: str, json_wanted: bool) -> None:
    """The tasks that follow from the change, and which facts or which pack they come from."""
    import msgspec

    from dure.cli.tables import print_table
    from dure.governance.changes import differences
    from dure.governance.wording import NOT_LEGAL_ADVICE

    tasks = differences(old, new)
    if json_wanted:
        click.echo(msgspec.json.encode(tasks).decode())
        return
    click.echo(f"{old.on} to {new.on}: {_packs_changed(old, new)}\n")
    if tasks:
        print_table(HEADINGS, _rows(tasks, library, language))
    else:
        click.echo("nothing to look at")
    click.echo(f"\n{NOT_LEGAL_ADVICE.told(language)}")


def read_assessment(file: str) -> Assessment:
    """An assessment as `--json` printed it."""
    import msgspec

    from dure.cli.documents import read_document
    from dure.cli.errors import BadInput
    from dure.governance.assessment import Assessment

    try:
        return msgspec.json.decode(read_document(file), type=Assessment)
    except msgspec.DecodeError as error:
        raise BadInput(f"{file}: not an assessment as `dure assess --json` prints it ({error})") from None


def _rows(tasks: Sequence[Task], library: Library, language: str) -> list[tuple[str, ...]]:
    from dure.governance.wording import REASON, STATUS

    titles = {provision.id: provision.title.told(language) for _, provision in library.provisions()}
    return [
        (
            task.provision,
            STATUS[task.status].told(language),
            task.due or "-",
            ", ".join([*task.changed_facts, *(["its text"] if task.is_pack_update else [])]) or "the day or evidence",
            f"{REASON[task.reason].told(language)}: {titles.get(task.provision, task.provision)}",
        )
        for task in tasks
    ]


def _packs_changed(old: Assessment, new: Assessment) -> str:
    before = {pack.name: pack for pack in old.packs}
    changed = [
        f"{pack.name} {before[pack.name].version} to {pack.version}"
        for pack in new.packs
        if pack.name in before and before[pack.name].digest != pack.digest
    ]
    return ", ".join(changed) or "the same packs"
