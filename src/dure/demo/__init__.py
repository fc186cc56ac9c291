"""The story of `dure demo`: a small nation shares its GPUs, told with a real platform, real members and real jobs.

`play` says what happens in which order, `chapters` what each chapter does and must find, `story` watches jobs through
the HTTP API, `telling` writes to the terminal, `platform` runs the server, `programs` are what the jobs run.
"""

from __future__ import annotations

from pathlib import Path


def run(exit_at_end: bool, nation_file: Path | None = None) -> int:
    """Play the story, then serve until Ctrl-C, or end at once. Returns the exit code: 0 only if all went as told."""
    # Jobs import programs of this package: it must not bring along what only the story needs.
    from dure.demo.play import play

    return play(exit_at_end, nation_file)
