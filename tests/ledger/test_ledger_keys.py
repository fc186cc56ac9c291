"""Key files: made once, private, and never half written."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from dure.ledger.keys import (
    KeyFileError,
    create_signer,
    load_or_create_signer,
    load_signer,
    load_verifier_key,
    public_path,
)
from tests.ledger.ledger_samples import ORIGIN, SIGNER


def test_a_new_key_is_private_and_its_public_half_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    signer = load_or_create_signer(path, ORIGIN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signer.name == ORIGIN
    assert load_verifier_key(tmp_path / "ledger.pub") == signer.verifier
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ledger.key", "ledger.pub"]


def test_a_key_is_made_only_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    first = load_or_create_signer(path, ORIGIN)
    assert load_or_create_signer(path, "dure.example/other").verifier == first.verifier


def test_an_existing_key_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    first = create_signer(path, ORIGIN)
    public_path(path).unlink()
    with pytest.raises(KeyFileError, match="exists already"):
        create_signer(path, ORIGIN)
    assert load_signer(path).verifier == first.verifier


def test_a_lost_private_key_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    first = create_signer(path, ORIGIN)
    path.unlink()
    with pytest.raises(KeyFileError, match="Restore it from your backup"):
        load_or_create_signer(path, ORIGIN)
    assert not path.exists()
    assert load_verifier_key(public_path(path)) == first.verifier


def test_a_lost_public_half_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    signer = create_signer(path, ORIGIN)
    public_path(path).unlink()
    load_signer(path)
    assert load_verifier_key(public_path(path)) == signer.verifier


def test_a_key_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "ledger.key"
    create_signer(path, ORIGIN)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        load_signer(path)


@pytest.mark.parametrize("text", ["", "nonsense", SIGNER.to_text()[:-4], "\udcff"])
def test_a_damaged_key_file_is_refused_and_its_content_is_not_repeated(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ledger.key"
    path.write_bytes(text.encode(errors="surrogateescape"))
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="does not hold a ledger key") as refused:
        load_signer(path)
    assert SIGNER.to_text()[-30:-4] not in str(refused.value)


def test_a_damaged_verifier_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.pub"
    path.write_text("nonsense\n")
    with pytest.raises(KeyFileError, match="does not hold a verifier key"):
        load_verifier_key(path)
