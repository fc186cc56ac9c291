"""Real witnesses behind HTTP make a ledger's checkpoints final, or say why not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from dure.ledger.cosignature import WitnessSigner, cosigners
from dure.ledger.cosigning import Cosigning
from dure.ledger.memory import MemoryLedger
from dure.ledger.note import open_checkpoint
from dure.ledger.witnesses import WitnessAddress, Witnesses, cosigned_checkpoint
from dure.witness.judging import Witness
from dure.witness.memory import WitnessMemory
from dure.witness.serving import make_witness_app
from tests.ledger.ledger_samples import NOON_MS, ORIGIN, SIGNER, entries

KEYS = [WitnessSigner(f"witness.example/{number}", bytes([number]) * 32) for number in range(3)]


@contextmanager
def serving(signer: WitnessSigner, folder: Path) -> Iterator[str]:
    """A witness for as long as the block runs, and its address."""
    folder.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listener, closing(WitnessMemory(folder / "w.sqlite")) as memory:
        witness = Witness(signer, {ORIGIN: SIGNER.verifier}, memory, lambda: 1_760_000_000)
        server = uvicorn.Server(uvicorn.Config(make_witness_app(witness, str(signer.verifier)), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[list[str]]:
    """Two witnesses that answer, and one that does not."""
    with serving(KEYS[0], tmp_path / "w0") as first, serving(KEYS[1], tmp_path / "w1") as second:
        yield [first, second, "http://127.0.0.1:1"]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def witnesses(urls: list[str], quorum: int) -> Witnesses:
    named = (
        WitnessAddress(f"w{number}", key.verifier, url)
        for number, (key, url) in enumerate(zip(KEYS, urls, strict=True))
    )
    return Witnesses(tuple(named), quorum)


def ledger_of(size: int, first: int = 0) -> MemoryLedger:
    ledger = MemoryLedger(SIGNER)
    ledger.append(0, entries(first, first + size), [], NOON_MS)
    return ledger


def collector(ledger: MemoryLedger, urls: list[str], state: Path, quorum: int = 2) -> Cosigning:
    made = Cosigning(lambda: ledger, SIGNER.verifier, witnesses(urls, quorum), state)
    made.recall()
    return made


def test_enough_cosignatures_make_a_checkpoint_final_and_are_kept(urls: list[str], state: Path) -> None:
    ledger = ledger_of(5)
    collecting = collector(ledger, urls, state)
    found = collecting.ask_all()
    assert (found.size, found.cosigned_by, found.quorum, found.witnesses) == (5, ("w0", "w1"), 2, 3)
    assert [name for name, _ in found.problems] == ["w2"]
    ledger.append(5, entries(5, 700), [], NOON_MS)
    assert collecting.ask_all().size == 700
    kept = cosigned_checkpoint(state)
    assert kept is not None
    assert open_checkpoint(kept, SIGNER.verifier).size == 700
    assert len(cosigners(kept, [key.verifier for key in KEYS])) == 2


def test_too_few_cosignatures_leave_what_was_final_before(urls: list[str], state: Path) -> None:
    ledger = ledger_of(5)
    assert collector(ledger, urls, state).ask_all().size == 5
    ledger.append(5, entries(5, 9), [], NOON_MS)
    alone = [urls[0], "http://127.0.0.1:1", "http://127.0.0.1:1"]
    found = collector(ledger, alone, state).ask_all()
    assert (found.size, found.cosigned_by) == (5, ("w0", "w1"))
    assert [name for name, _ in found.problems] == ["w1", "w2"]


def test_a_restarted_platform_knows_what_is_final_and_where_witnesses_are(urls: list[str], state: Path) -> None:
    ledger = ledger_of(5)
    collector(ledger, urls, state).ask_all()
    ledger.append(5, entries(5, 9), [], NOON_MS)
    again = collector(ledger, urls, state)
    assert again.finality.size == 5
    assert again.ask_all().size == 9


def test_a_rewritten_ledger_finds_no_witness(urls: list[str], state: Path, tmp_path: Path) -> None:
    collector(ledger_of(5), urls, state).ask_all()
    (tmp_path / "elsewhere").mkdir()
    found = collector(ledger_of(9, first=100), urls, tmp_path / "elsewhere").ask_all()
    assert found.size == 0
    assert dict(found.problems)["w0"].startswith("it answered 422")


def test_a_ledger_that_was_put_back_is_told_so(urls: list[str], state: Path) -> None:
    collector(ledger_of(9), urls, state).ask_all()
    collecting = collector(ledger_of(5), urls, state)
    assert collecting.finality.size == 0
    problems = dict(collecting.ask_all().problems)
    assert problems["w1"] == "it has seen 9 entries and this ledger has 5: was an older copy put back?"


def test_what_was_final_in_another_history_is_final_no_more(urls: list[str], state: Path) -> None:
    collector(ledger_of(5), urls, state).ask_all()
    assert collector(ledger_of(9, first=100), urls, state).finality.size == 0
    assert collector(ledger_of(9), urls, state).finality.size == 5


def test_a_forged_cosigned_checkpoint_is_not_believed(urls: list[str], state: Path) -> None:
    ledger = ledger_of(5)
    collector(ledger, urls, state).ask_all()
    note = cosigned_checkpoint(state) or ""
    (state / "cosigned.checkpoint").write_text(note.replace("\n5\n", "\n4\n"))
    assert collector(ledger, urls, state).finality.size == 0


def test_the_thread_collects_by_itself(urls: list[str], state: Path) -> None:
    ledger = ledger_of(5)
    collecting = collector(ledger, urls[:2] + urls[:1], state, quorum=2)
    collecting.start()
    try:
        deadline = time.monotonic() + 30
        while collecting.finality.size != 5 and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        collecting.close()
    assert collecting.finality.size == 5


def test_a_witness_shows_its_key_and_refuses_what_is_too_long(urls: list[str]) -> None:
    assert httpx.get(urls[0], trust_env=False).text == f"{KEYS[0].verifier}\n"
    answer = httpx.post(f"{urls[0]}/add-checkpoint", content=b"x" * 100_000, trust_env=False)
    assert answer.status_code == 413
    assert httpx.post(f"{urls[0]}/add-checkpoint", content=b"x", trust_env=False).status_code == 400
