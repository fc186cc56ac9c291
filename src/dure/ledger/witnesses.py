"""Which witnesses a platform asks, and how many of them make a checkpoint final: the witnesses file (C2SP tlog-policy).

    witness regulator  regulator.example/witness+1c6b3f4a+BGlk...  https://witness.regulator.example
    witness university witness.univ.example+9a0d2e11+BHdz...       https://witness.univ.example
    group   all-of-us  2 regulator university
    quorum  all-of-us

Outside tools read the same file. We read groups of witnesses; groups of groups are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from dure.ledger.cosignature import WitnessKey, require_quorum
from dure.ledger.note import NoteError, VerifierKey, open_checkpoint

COSIGNED_FILE = "cosigned.checkpoint"
"""In the state folder: the last checkpoint that enough witnesses cosigned."""


class WitnessesError(ValueError):
    """A witnesses file that cannot be used; the message names the line and what is wrong with it."""


class WitnessAddress(Struct, frozen=True):
    """A witness: what the file calls it, its key, and where it is asked; empty for one that is not asked."""

    name: str
    key: WitnessKey
    url: str


class Witnesses(Struct, frozen=True):
    """The witnesses that count, and how many of them are needed."""

    members: tuple[WitnessAddress, ...]
    quorum: int

    @property
    def keys(self) -> tuple[WitnessKey, ...]:
        """Their public keys."""
        return tuple(each.key for each in self.members)

    def final(self, note: str, log_key: VerifierKey) -> tuple[int, tuple[str, ...]]:
        """Size of a checkpoint that is final, and who cosigned it. Raises `NoteError` for one that is not."""
        head = open_checkpoint(note, log_key)
        found = {key.public for key in require_quorum(note, self.keys, self.quorum)}
        return head.size, tuple(each.name for each in self.members if each.key.public in found)


def read_witnesses(path: Path) -> Witnesses:
    """The witnesses in a file. Raises `WitnessesError` or `OSError`."""
    try:
        return parse_witnesses(path.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise WitnessesError(f"{path}: not a text file in UTF-8 (byte {error.start})") from None
    except WitnessesError as error:
        raise WitnessesError(f"{path}: {error}") from None


def cosigned_checkpoint(state: Path) -> str | None:
    """The last checkpoint that enough witnesses cosigned, as a state folder has it; None when there is none."""
    try:
        return (state / COSIGNED_FILE).read_text("utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def parse_witnesses(text: str) -> Witnesses:
    """From the text of a witnesses file. Raises `WitnessesError`."""
    known: dict[str, WitnessAddress] = {}
    groups: dict[str, tuple[tuple[str, ...], int]] = {}
    quorum: str | None = None
    for number, words in _lines(text):
        match words:
            case ["log", _] | ["log", _, _]:
                continue
            case ["witness", name, key, *url] if len(url) < 2 and name not in known:
                known[name] = _witness(number, name, key, "".join(url))
            case ["group", name, threshold, *members] if members and name not in groups:
                groups[name] = (tuple(members), _threshold(number, threshold, members, known))
            case ["quorum", name] if quorum is None:
                quorum = name
            case _:
                raise WitnessesError(
                    f"line {number}: {' '.join(words)}: not a line of a witnesses file, or there twice"
                )
    return _chosen(quorum, known, groups)


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield number, words


def _witness(number: int, name: str, key: str, url: str) -> WitnessAddress:
    if url and not url.startswith(("http://", "https://")):
        raise WitnessesError(f"line {number}: {url}: not an address; write it like https://witness.example")
    try:
        return WitnessAddress(name, WitnessKey.parse(key), url.rstrip("/"))
    except NoteError as error:
        raise WitnessesError(f"line {number}: {name}: {error}") from None


def _threshold(number: int, text: str, members: list[str], known: Mapping[str, WitnessAddress]) -> int:
    unknown = [name for name in members if name not in known]
    if unknown or len(set(members)) != len(members):
        raise WitnessesError(f"line {number}: members of a group are witnesses named above, each once: {members}")
    numbers = {str(number): number for number in range(1, len(members) + 1)}
    threshold = (numbers | {"any": 1, "all": len(members)}).get(text, 0)
    if not threshold:
        raise WitnessesError(f"line {number}: {text}: how many of {len(members)} are needed is 1 to {len(members)}")
    return threshold


def _chosen(
    quorum: str | None, known: Mapping[str, WitnessAddress], groups: Mapping[str, tuple[tuple[str, ...], int]]
) -> Witnesses:
    if quorum is None:
        raise WitnessesError("there is no line `quorum GROUP`, which says what makes a checkpoint final")
    if quorum not in groups and quorum not in known:
        raise WitnessesError(f"quorum {quorum}: there is no group or witness of this name")
    names, threshold = groups.get(quorum, ((quorum,), 1))
    members = tuple(known[name] for name in names)
    if len({each.key.public for each in members}) != len(members):
        raise WitnessesError(f"quorum {quorum}: two of its witnesses have the same key, and would be counted as one")
    return Witnesses(members, threshold)
