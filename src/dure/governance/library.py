"""The packs that come with Dure, and those that an operator adds or brings up to date."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files

from dure.governance.pack_reader import read_pack
from dure.governance.packs import Library, Pack
from dure.governance.vocabulary import Vocabulary
from dure.governance.vocabulary_reader import joined, read_vocabulary
from dure.intake.refusals import BadInput, Problem

VOCABULARY_FILE = "vocabulary.yaml"
SUFFIX = ".yaml"


@cache
def shipped_library() -> Library:
    """The packs that come with this version of Dure; read once."""
    folder = files("dure.governance").joinpath("packs")
    documents = {each.name: each.read_text("utf-8") for each in folder.iterdir() if each.name.endswith(SUFFIX)}
    return read_library(documents)


def read_library(documents: Mapping[str, str], base: Library | None = None) -> Library:
    """The packs in these documents, by file name, on top of `base`. `vocabulary.yaml` declares facts and evidence.

    A pack of the same name as one of `base` takes its place and must be newer: law changes faster than software is
    released. Raises `BadInput` with every problem of the first document that has any.
    """
    vocabulary, digest = _vocabulary(documents, base)
    packs = {pack.name: pack for pack in base.packs} if base else {}
    added: dict[str, str] = {}
    for file in sorted(documents.keys() - {VOCABULARY_FILE}):
        pack = read_pack(file, documents[file], vocabulary)
        if pack.name in added:
            raise _problem(file, f"pack {pack.name} is also in {added[pack.name]}", "keep one")
        if pack.name in packs and _numbers(pack) <= _numbers(packs[pack.name]):
            raise _problem(
                file,
                f"pack {pack.name} {pack.version} is not newer than {packs[pack.name].version}",
                "give it a higher version, or another name",
            )
        packs[pack.name] = pack
        added[pack.name] = file
    _refuse_ids_in_two_packs(packs)
    ordered = tuple(packs[name] for name in sorted(packs))
    return Library(vocabulary=vocabulary, vocabulary_digest=digest, packs=ordered)


def _vocabulary(documents: Mapping[str, str], base: Library | None) -> tuple[Vocabulary, str]:
    document = documents.get(VOCABULARY_FILE)
    if document is None:
        return (base.vocabulary, base.vocabulary_digest) if base else (Vocabulary(facts={}, evidence={}), "")
    vocabulary = read_vocabulary(VOCABULARY_FILE, document)
    if base is not None:
        vocabulary = joined(base.vocabulary, VOCABULARY_FILE, vocabulary)
    # A digest over both, so that an assessment also pins the questions that its facts answer.
    return vocabulary, sha256(((base.vocabulary_digest if base else "") + document).encode()).hexdigest()


def _refuse_ids_in_two_packs(packs: Mapping[str, Pack]) -> None:
    seen: dict[str, str] = {}
    for pack in packs.values():
        for provision in pack.provisions:
            if provision.id in seen:
                raise _problem(pack.name, f"{provision.id} is also in pack {seen[provision.id]}", "ids are unique")
            seen[provision.id] = pack.name


def _numbers(pack: Pack) -> tuple[int, ...]:
    return tuple(map(int, pack.version.split(".")))


def _problem(file: str, message: str, hint: str) -> BadInput:
    return BadInput([Problem(field=file, value="", message=message, hint=hint)])
