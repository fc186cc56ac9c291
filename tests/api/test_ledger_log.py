"""The ledger as static files, served and exported: the commands of an auditor who trusts only a public key."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from dure.cli.main import main
from dure.ledger.large import entry_leaf
from dure.ledger.note import VerifierKey, open_checkpoint
from dure.ledger.tiles import ENTRIES, Tile, unpack_entries, unpack_hashes
from dure.ledger.tree import TILE_WIDTH
from tests.control.server import ServerProcess

LOG = "/v1/ledger/log"


@pytest.fixture
def dure(server: ServerProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine's commands speak to the server, as its operator."""
    monkeypatch.setenv("DURE_URL", server.url)
    monkeypatch.setenv("DURE_STATE", str(server.state))
    monkeypatch.delenv("DURE_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)


def ledger(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ("ledger", *arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_tiles_and_checkpoint_fit_each_other(server: ServerProcess, auditor: httpx.Client) -> None:
    key = VerifierKey.parse((server.state / "ledger.pub").read_text())
    size = open_checkpoint(auditor.get(f"{LOG}/checkpoint").text, key).size
    for first in range(0, size, TILE_WIDTH):
        index, width = first // TILE_WIDTH, min(TILE_WIDTH, size - first)
        entries = auditor.get(f"{LOG}/{Tile(ENTRIES, index, width).path}").content
        hashes = auditor.get(f"{LOG}/{Tile(0, index, width).path}").content
        assert [entry_leaf(entry) for entry in unpack_entries(entries, width)] == unpack_hashes(hashes, width)


@pytest.mark.parametrize(
    "path", ["tile/0/999", "tile/0/000.p/0", "tile/x/000", "tile/1/%2e%2e/0/000", "large/000", "large/1", "large/x"]
)
def test_a_tile_that_is_not_there_is_not_found(auditor: httpx.Client, path: str) -> None:
    answer = auditor.get(f"{LOG}/{path}")
    assert answer.status_code == 404


def test_members_see_the_checkpoint_but_no_tile(hanbit: httpx.Client) -> None:
    assert hanbit.get(f"{LOG}/checkpoint").status_code == 200
    assert hanbit.get(f"{LOG}/tile/0/000.p/1").status_code == 403
    assert hanbit.get(f"{LOG}/large/000").status_code == 403


@pytest.mark.parametrize("source", [(), ("--remote",)], ids=["files", "server"])
def test_an_entry_is_proven_and_checked_offline(dure: None, source: tuple[str, ...], tmp_path: Path) -> None:
    assert ledger("prove", "0", "-o", "proof.txt", *source).exit_code == 0
    checked = ledger("check", "proof.txt")
    assert checked.exit_code == 0
    assert '"event":' in checked.output
    text = (tmp_path / "proof.txt").read_text()
    (tmp_path / "proof.txt").write_text(text.replace("index 0", "index 1"))
    spoilt = ledger("check", "proof.txt")
    assert spoilt.exit_code == 1
    assert "NOT proven: entry 1 is not proven" in spoilt.output


def test_an_entry_that_is_not_there_yet_is_not_proven(dure: None) -> None:
    result = ledger("prove", "999999")
    assert result.exit_code == 2
    assert "entry 999999 is not under the last checkpoint" in result.output


@pytest.mark.parametrize("source", [(), ("--remote",)], ids=["files", "server"])
def test_a_ledger_goes_on_from_a_checkpoint_that_was_kept(
    dure: None, operator: httpx.Client, source: tuple[str, ...], tmp_path: Path
) -> None:
    kept = operator.get(f"{LOG}/checkpoint").text
    operator.post("/v1/tokens", json={"role": "auditor"}).raise_for_status()
    (tmp_path / "kept.txt").write_text(kept)
    assert "goes on from the checkpoint" in ledger("consistent", "kept.txt", *source).output
    lines = kept.split("\n")
    (tmp_path / "kept.txt").write_text(kept.replace(f"\n{lines[1]}\n", "\n1\n"))
    forged = ledger("consistent", "kept.txt", *source)
    assert forged.exit_code == 1
    assert "NOT consistent: a checkpoint is refused" in forged.output


def test_a_ledger_is_exported_and_verified_from_its_tiles(dure: None, server: ServerProcess, tmp_path: Path) -> None:
    exported = ledger("export", "published")
    assert exported.exit_code == 0, exported.output
    assert "files written" in exported.output
    key = str(server.state / "ledger.pub")
    assert "The ledger is sound" in ledger("verify", "--tiles", "published", "--key", key).output
    assert ledger("prove", "2", "--tiles", "published", "--key", key).output.startswith("c2sp.org/tlog-proof@v1\n")
    # What a tile ends with is a hash, so another last byte is another hash.
    *_, tile = sorted(each for each in (tmp_path / "published/tile/0").rglob("*") if each.is_file())
    body = tile.read_bytes()
    tile.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    spoilt = ledger("verify", "--tiles", "published", "--key", key)
    assert spoilt.exit_code == 1
    assert f"altered-tile: {tile.relative_to(tmp_path / 'published')}" in spoilt.output


def test_what_cannot_be_exported_or_read_is_said_in_one_message(dure: None, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/a.txt").write_text("dear all")
    for arguments, said in (
        (("export", "letters"), "letters holds something else"),
        (("verify", "--tiles", "nowhere"), "there is no log at nowhere"),
        (("verify", "--tiles", "http://127.0.0.1:1/log"), "cannot be fetched"),
        (("check", "letters/a.txt"), "NOT proven: this is no proof"),
        (("consistent", "letters/a.txt"), "a checkpoint is refused"),
    ):
        result = ledger(*arguments)
        assert result.exit_code in (1, 2)
        assert said in result.output
