"""A folder has one content manifest; whatever differs in it shows, and what cannot be named is refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.model.manifests import ContentManifest, ManifestEntry, differences, manifest_from_text
from dure.sources.errors import BadFolder
from dure.sources.folders import manifest_of

NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=8).filter(
    str.isprintable
)
ENTRIES = st.builds(
    ManifestEntry,
    path=NAMES,
    size_bytes=st.integers(0, 10**15),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
)
MANIFESTS = st.lists(ENTRIES, max_size=5, unique_by=lambda each: each.path).map(
    lambda entries: ContentManifest(entries=tuple(sorted(entries, key=lambda each: each.path)))
)


def fill(folder: Path) -> Path:
    (folder / "b").mkdir()
    (folder / "b" / "수율.csv").write_bytes(b"lot,yield\n")
    (folder / "a.bin").write_bytes(b"\0" * 10)
    return folder


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_manifest_names_every_file_with_its_size_and_digest(tmp_path: Path) -> None:
    found = manifest_of(fill(tmp_path))
    text = f"{sha256(bytes(10))} 10 a.bin\n{sha256(b'lot,yield' + bytes([10]))} 10 b/수율.csv\n"
    assert found.text == text
    assert found.digest == sha256(text.encode())
    assert found.size_bytes == 20


def test_the_order_in_which_files_were_made_changes_nothing(tmp_path: Path) -> None:
    names = ["z", "a", "m/n", "m-n", "B"]
    for turn, order in enumerate((names, names[::-1])):
        for name in order:
            file = tmp_path / str(turn) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)
    assert manifest_of(tmp_path / "0") == manifest_of(tmp_path / "1")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda folder: (folder / "a.bin").write_bytes(b"\0" * 9 + b"\1"), "changed: a.bin"),
        (lambda folder: (folder / "a.bin").unlink(), "missing: a.bin"),
        (lambda folder: (folder / "b" / "more").write_text(""), "added: b/more"),
    ],
)
def test_whatever_differs_changes_the_digest_and_is_named(tmp_path: Path, spoil: object, line: str) -> None:
    declared = manifest_of(fill(tmp_path))
    assert callable(spoil)
    spoil(tmp_path)
    found = manifest_of(tmp_path)
    assert found.digest != declared.digest
    assert differences(declared, found) == (line,)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda folder: (folder / "link").symlink_to("/etc/passwd"), "a link is not content"),
        (lambda folder: (folder / "folder").symlink_to("/etc"), "a link is not content"),
        (lambda folder: os.mkfifo(folder / "pipe"), "not a regular file"),
        (lambda folder: (folder / "two\nlines").write_text(""), "is not plain text"),
        (lambda folder: (folder / os.fsdecode(b"\xff")).write_text(""), "is not plain text"),
    ],
)
def test_what_is_no_plain_file_is_refused_by_name(tmp_path: Path, make: object, what: str) -> None:
    assert callable(make)
    make(fill(tmp_path))
    with pytest.raises(BadFolder, match=what):
        manifest_of(tmp_path)


def test_no_folder_and_an_empty_one_have_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(BadFolder, match="no such folder"):
        manifest_of(tmp_path / "none")
    with pytest.raises(BadFolder, match="holds no file"):
        manifest_of(tmp_path)


@given(MANIFESTS)
def test_a_manifest_is_read_as_it_was_written(manifest: ContentManifest) -> None:
    assert manifest_from_text(manifest.text) == manifest


@given(MANIFESTS, MANIFESTS)
def test_two_manifests_have_one_digest_only_when_nothing_differs(one: ContentManifest, other: ContentManifest) -> None:
    assert (one.digest == other.digest) == (differences(one, other) == ())


@pytest.mark.parametrize(
    "text", ["x", "0" * 64 + " 1\n", "0" * 64 + " -1 a\n", "0" * 64 + " 01 a\n", "0" * 64 + " 1 a"]
)
def test_what_is_no_manifest_is_not_read_as_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1|as `dure data manifest` writes it"):
        manifest_from_text(text)
