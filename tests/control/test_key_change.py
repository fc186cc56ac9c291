"""A ledger's key is exchanged by two people, with real servers on one state folder."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dure.bootstrap import make_control, open_ledger, prepare_state
from dure.bootstrap.key_change import change_key_if_approved
from dure.cli.main import main
from dure.control.control import Control
from dure.control.oversight.requests import ApproveChange, ProposalStands, ProposeChange
from dure.control.requests import NotDone, Reply
from dure.ledger.keys import create_next_signer, load_signer, load_verifier_key
from dure.ledger.note import Signer
from dure.ledger.verify import verify
from dure.model.proposals import KeyChange

from .builders import ask, run
from .server import running_server
from .test_proposals import person

PHRASE = "a long phrase that nobody guesses"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    prepare_state(folder)
    return folder


def dure(*arguments: str, phrase: str = "") -> Result:
    result = CliRunner().invoke(main, arguments, input=phrase)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def said(*arguments: str, phrase: str = "") -> str:
    result = dure(*arguments, phrase=phrase)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def token_of(name: str) -> str:
    """Somebody new, who is a steward."""
    account = said("account", "add", name, "--role", "steward", phrase=f"{PHRASE}\n").split()[-1]
    return said("token", "create", "--account", account).splitlines()[-1]


def test_two_people_exchange_the_key_and_what_was_signed_before_still_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("DURE_STATE", str(state))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DURE_TOKEN", raising=False)
    (tmp_path / "identity.yaml").write_text("local_accounts: true\n")
    options = ["--identity", "identity.yaml"]
    with running_server(state, options=options) as server:
        monkeypatch.setenv("DURE_URL", server.url)
        ann, bob = token_of("ann"), token_of("bob")
        with server.client() as client:
            Path("kept.txt").write_text(client.get("/v1/ledger/log/checkpoint").text)
        key = said("ledger", "new-key").splitlines()[0]
        assert dure("ledger", "new-key").exit_code == 2
        monkeypatch.setenv("DURE_TOKEN", ann)
        said("proposal", "key", str(state / "next-ledger.pub"))
        assert key in said("proposal", "list")
        assert "somebody else must approve" in dure("proposal", "approve", "p1").output
        monkeypatch.setenv("DURE_TOKEN", bob)
        said("proposal", "approve", "p1")
        monkeypatch.delenv("DURE_TOKEN")
        said("ledger", "export", "published")
        assert "former key" not in said("ledger", "verify")
        assert server.stop() == 0
    former = load_verifier_key(state / "ledger.pub")
    with running_server(state, options=options) as server:
        monkeypatch.setenv("DURE_URL", server.url)
        assert "the ledger is signed with" in server.output
        said("token", "create", "--role", "auditor")
        verdict = said("ledger", "verify", "--checkpoint", "kept.txt")
        assert f"former key   {former}" in verdict
        assert "The ledger is sound" in verdict
        assert str(load_verifier_key(state / "ledger.pub")) == key
        names = {path.name for path in state.glob("*ledger*.*")}
        assert {f"former-ledger-{former.id.hex()}.pub", "ledger.key", "ledger.pub"} <= names
        assert not any(name.startswith("next-") for name in names)
        old = dure("ledger", "verify", "--key", str(state / f"former-ledger-{former.id.hex()}.pub"))
        assert old.exit_code == 1
        assert "entries written" not in said("ledger", "export", "published")
        assert "The ledger is sound" in said("ledger", "verify", "--tiles", "published")
        assert server.stop() == 0
    with running_server(state, options=options) as server:
        assert "the ledger is signed with" not in server.output


def approved(control: Control, key: str) -> None:
    ann, bob = person(control, "ann"), person(control, "bob")
    assert isinstance(ask(control, ProposeChange(caller=ann, change=KeyChange(key=key))), ProposalStands)
    assert isinstance(
        ask(control, ApproveChange(caller=bob, proposal="p1"), time.time_ns() // 1_000_000), ProposalStands
    )


@pytest.fixture
def control(state: Path) -> Control:
    control = make_control(state, open_ledger(state))
    run(control)
    person(control, "first")
    return control


def refused(reply: Reply) -> str:
    assert isinstance(reply, NotDone)
    return reply.message


def test_what_is_no_key_of_this_ledger_is_not_proposed(control: Control, state: Path) -> None:
    ann = person(control, "ann")
    own = load_signer(state / "ledger.key").verifier
    for key, why in (
        ("nonsense", "no verifier key"),
        (str(Signer.generate("dure.example/other").verifier), "The key is for dure.example/other"),
        (str(own), "signed with that key already"),
    ):
        assert why in refused(ask(control, ProposeChange(caller=ann, change=KeyChange(key=key))))


def test_without_the_approved_private_half_the_ledger_goes_on_with_the_key_it_has(
    control: Control, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = load_signer(state / "ledger.key").verifier
    approved(control, str(Signer.generate(before.name).verifier))
    change_key_if_approved(state, control)
    assert "no such file" in caplog.text.lower()
    create_next_signer(state / "ledger.key")
    change_key_if_approved(state, control)
    assert "another one" in caplog.text
    assert load_signer(state / "ledger.key").verifier == before
    assert control.memory.register.approved_key


def test_a_crash_before_the_files_were_exchanged_is_made_good(control: Control, state: Path) -> None:
    signer = create_next_signer(state / "ledger.key")
    kept = {path.name: path.read_bytes() for path in state.glob("*ledger.*") if path.suffix in (".key", ".pub")}
    approved(control, str(signer.verifier))
    change_key_if_approved(state, control)
    control.ledger.close()
    for path in state.glob("former-*"):
        path.unlink()
    for name, body in kept.items():
        (state / name).write_bytes(body)
        (state / name).chmod(0o600)
    with closing(open_ledger(state)) as ledger:
        again = make_control(state, ledger)
        assert not again.memory.register.approved_key
        assert load_signer(state / "ledger.key").verifier == signer.verifier
        assert len(list(state.glob("former-*"))) == 1
        person(again, "eve")
        with ledger.stored() as log:
            assert verify(log, signer.verifier).is_sound
