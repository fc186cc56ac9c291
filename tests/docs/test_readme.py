"""What the pages show is true: their commands exist, their links lead somewhere, and the tour goes as it is told."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dure.cli.main import main
from dure.twin.run import warm_up
from tests.docs.pages import PAGES, ROOT, blocks, linked_files, text_of
from tests.transcripts.platform import running_platform
from tests.transcripts.test_transcripts import normalised, run_story

README = ROOT / "README.md"
TOUR_MARK = "<!-- tour -->\n```console\n"
WAITS = {"dure shares": "j2", "dure why j1": "j1"}
"""Before these commands a reader is slower than a test, which has to wait until this job runs."""

_MEASURED = re.compile(r"(?<=\s)(?:\d+\.\d\d|[\d,]+ GB)(?=\s|$)")
_FIGURES = re.compile(r"^(entries|wall_s|jobs_per_s|peak_rss_mb)( +).*$", re.MULTILINE)


def commands_on(text: str) -> Iterator[str]:
    """Every `dure ...` command a page shows, in blocks and in sentences."""
    for block in blocks(text, "(?:console|bash)"):
        yield from re.findall(r"(?:^|[|;] )(?:\$ )?(dure [^|;#\n]+)", block, re.MULTILINE)
    yield from re.findall(r"`(dure [a-z][^`]*)`", text)


def check_command(line: str) -> None:
    """Fail unless the program has this command with these options. Words in capitals stand for anything."""
    words = shlex.split(line)[1:]
    command: click.Command = main
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        word = words.pop(0)
        found = [command.commands[each] for each in word.split("|") if each in command.commands]
        if not found and command.invoke_without_command:
            return
        assert found, f"{line!r}: {word!r} is no command"
        command = found[0]
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    known |= {"--help", "-h"} | ({"--version"} if command is main else set())
    used = [word.partition("=")[0].strip("[]") for word in words[: words.index("--") if "--" in words else None]]
    unknown = [word for word in used if word.startswith("-") and word != "-" and word not in known]
    assert not unknown, f"{line!r} has no option {unknown[0]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_on_a_page_exists_with_its_options(page: Path) -> None:
    for line in commands_on(text_of(page)):
        check_command(line)


def test_a_command_that_does_not_exist_is_found() -> None:
    found = list(commands_on("```console\n$ dure shares --nonsense | tail -1\n```\nAsk `dure sing`."))
    assert found == ["dure shares --nonsense ", "dure sing"]
    for line in found:
        with pytest.raises(AssertionError, match=r"has no option --nonsense|is no command"):
            check_command(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    assert [str(path) for path in linked_files(page) if not path.exists()] == []


def test_every_page_is_linked_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    missing = [page for page in PAGES if page.is_relative_to(index.parent) and page not in linked_files(index)]
    assert [str(page) for page in missing if page != index] == []


def tour_of(readme: str) -> list[str]:
    """The blocks of the tour."""
    return [part.partition("```")[0] for part in readme.split(TOUR_MARK)[1:]]


def with_waits(block: str) -> str:
    """The block as a test types it."""
    for command, job in WAITS.items():
        block = block.replace(f"$ {command}\n", f"$ wait-for {job} running; {command}\n")
    return block


def comparable(text: str, folder: Path) -> str:
    """Without waits, and without what differs from run to run."""
    text = re.sub(r"wait-for \w+ running; ", "", text)
    text = _FIGURES.sub(r"\1\2<figure>", normalised(text, folder))
    return _MEASURED.sub("<figure>", text).rstrip()


def test_the_tour_goes_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`DURE_UPDATE=1` writes what was printed into the page."""
    # The tour simulates a month, which takes hours with the kernel as plain Python.
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    warm_up()
    shutil.copytree(ROOT / "docs" / "tour", tmp_path / "docs" / "tour")
    readme = text_of(README)
    told = tour_of(readme)
    update = bool(os.environ.get("DURE_UPDATE"))
    if update:
        # What goes into the page are the very words, with their times.
        monkeypatch.setattr("tests.transcripts.test_transcripts.normalised", lambda output, folder: output)
    with running_platform(tmp_path) as platform:
        happened = [run_story(with_waits(block), tmp_path, platform.environment) for block in told]
    if update:
        for before, after in zip(told, happened, strict=True):
            if comparable(before, tmp_path) != comparable(after, tmp_path):
                readme = readme.replace(before, re.sub(r"wait-for \w+ running; ", "", after))
        README.write_text(readme, encoding="utf-8")
        return
    for before, after in zip(told, happened, strict=True):
        expected, found = (comparable(text, tmp_path).splitlines() for text in (before, after))
        difference = difflib.unified_diff(expected, found, "told", "happened", lineterm="")
        assert expected == found, "\n".join(difference)
