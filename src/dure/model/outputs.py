"""What a job leaves in its output folder, as its engine lists it once the job's processes are gone."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class OutputProblem(StrEnum):
    """Why something in an output folder is not taken: it is named, and neither opened nor followed."""

    LINK = "link"
    """A symbolic link: what it leads to is not the job's to give."""
    HARD_LINK = "hard-link"
    """A file that has another name somewhere else, too."""
    SPECIAL = "special"
    """A socket, a device or a pipe."""
    NAME = "name"
    """Its name is no plain text, or is too long."""
    DEPTH = "depth"
    """A folder too deep down."""
    UNREADABLE = "unreadable"
    """The job closed it to its own user, or it changed while it was read."""
    TOO_LARGE = "too-large"
    """Alone it is larger than all outputs together may be, so nobody read it."""


class OutputFile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file, or one thing that is not taken for one."""

    path: str
    """Below the output folder, with `/`. Of a thing with a `problem`, a printable form of its name."""
    size_bytes: int = 0
    media_type: str = ""
    """By its content, whatever its name says; empty before the attempt has ended."""
    sha256: str = ""
    """Hexadecimal; empty before the attempt has ended."""
    problem: OutputProblem | None = None


class OutputListing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is in an output folder, by path."""

    files: tuple[OutputFile, ...] = ()
    is_complete: bool = True
    """False when there was more than may be listed."""
