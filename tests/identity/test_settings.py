"""The identity file is read strictly, and what is wrong is told all at once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dure.control.access import Grant, Role
from dure.identity.passwords import LONGEST_WAIT_MS, Backoff
from dure.identity.settings import IdentitySettings, is_safe, read_identity_file
from dure.intake.refusals import BadInput
from dure.model.units import DAY_MS, HOUR_MS

WHOLE = """
public_url: https://dure.example.kr/
provider:
  issuer: https://id.example.kr/realms/programme
  client_id: dure
  client_secret_file: client.secret
roles:
  - {group: office, role: operator}
  - {group: hanbit, role: member, organisation: hanbit}
tokens: {usual: 30d}
sessions: {idle: 30m}
limits: {token: 10}
"""


def written(folder: Path, text: str, secret_mode: int = 0o600) -> Path:
    secret = folder / "client.secret"
    secret.write_text("hush\n")
    secret.chmod(secret_mode)
    path = folder / "identity.yaml"
    path.write_text(text)
    return path


def problems(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_identity_file(path)
    return str(caught.value)


def test_everything_in_the_file_is_read_and_the_rest_is_as_usual(tmp_path: Path) -> None:
    found = read_identity_file(written(tmp_path, WHOLE))
    assert found.provider is not None
    assert found.provider.client_secret == "hush"
    assert "hush" not in repr(found)
    assert found.public_url == "https://dure.example.kr"
    assert found.roles[1].grant == Grant(role=Role.MEMBER, organisation="hanbit")
    assert (found.tokens.usual_ms, found.tokens.longest_ms) == (30 * DAY_MS, 365 * DAY_MS)
    assert (found.sessions.idle_ms, found.sessions.longest_ms) == (HOUR_MS // 2, 12 * HOUR_MS)
    assert (found.limits.token, found.limits.organisation) == (10, 5_000)
    assert not found.local_accounts


def test_an_empty_mapping_changes_nothing(tmp_path: Path) -> None:
    assert read_identity_file(written(tmp_path, "{}")) == IdentitySettings()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("https://id", "http://id", "provider.issuer: must start with https://"),
        ("https://id.example.kr/realms/programme", "id.example.kr", "is not an address"),
        ("https://id.example.kr/realms/programme", "https://user@id.example.kr", "is not an address"),
        ("https://dure.example.kr/", "https://dure.example.kr/portal", "without a path"),
        ("client_id: dure", "client: dure", "provider.client_id: is missing"),
        ("role: operator", "role: king", "roles[0].role: must be one of operator"),
        (", organisation: hanbit", "", "roles[1].organisation: is missing"),
        (
            "role: operator",
            "role: operator, organisation: hanbit",
            "roles[0].organisation: the role operator is for no",
        ),
        ("usual: 30d", "usual: 30", "tokens.usual: has no unit"),
        ("usual: 30d", "usual: 400d", "tokens.longest: is shorter"),
        ("client.secret", "missing.secret", "missing.secret cannot be read"),
        ("limits: {token: 10}", "limits: {token: -1}", "limits.token: must lie between"),
    ],
)
def test_each_mistake_is_told_where_it_is(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in WHOLE
    assert said in problems(written(tmp_path, WHOLE.replace(old, new)))


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    told = problems(written(tmp_path, WHOLE, secret_mode=0o644))
    assert "chmod 600" in told
    assert "hush" not in told


def test_a_provider_without_roles_would_let_nobody_do_anything(tmp_path: Path) -> None:
    text = WHOLE[: WHOLE.index("roles:")] + WHOLE[WHOLE.index("tokens:") :]
    assert "roles: is missing" in problems(written(tmp_path, text))


@given(st.text(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_any_text_is_settings_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode(errors="replace"))
    with suppress(BadInput):
        assert isinstance(read_identity_file(path), IdentitySettings)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://anywhere.example", True),
        ("http://127.0.0.1:8080", True),
        ("http://localhost", True),
        ("http://[::1]:9", True),
        ("http://localhost.attacker.example", False),
        ("http://127.0.0.1.attacker.example", False),
        ("http://127.0.0.1@attacker.example", False),
        ("ftp://127.0.0.1", False),
        ("javascript:alert(1)", False),
        ("", False),
    ],
)
def test_plain_http_is_for_this_machine_only(url: str, safe: bool) -> None:
    assert is_safe(url) is safe


def test_a_name_waits_longer_after_each_failure_but_never_for_ever() -> None:
    backoff = Backoff()
    waits = []
    now_ms = 0
    for _ in range(12):
        backoff.failed("name", now_ms)
        waits.append(backoff.wait_ms("name", now_ms))
        now_ms += waits[-1]
        assert backoff.wait_ms("name", now_ms) == 0
    assert waits[:2] == [0, 0]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT_MS
    assert backoff.wait_ms("another", 0) == 0
    backoff.succeeded("name")
    assert backoff.wait_ms("name", 0) == 0
