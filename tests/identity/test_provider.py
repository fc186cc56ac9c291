"""Signing in at a real OpenID Connect provider: by real redirects and forms, by device code, and by every trick."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from tests.control.server import ServerProcess
from tests.identity.people import Browser, query_of

COOKIE = "dure_session"

FORGERIES = {
    "wrong-nonce": "id-token-nonce",
    "no-nonce": "id-token-nonce",
    "wrong-audience": "id-token-audience",
    "two-audiences": "id-token-audience",
    "wrong-issuer": "id-token-issuer",
    "expired": "id-token-expired",
    "from-the-future": "id-token-from-the-future",
    "algorithm-none": "id-token-algorithm",
    "algorithm-hmac": "id-token-algorithm",
    "unknown-crit": "id-token-malformed",
    "unknown-key": "id-token-unknown-key",
    "other-type": "id-token-malformed",
    "signature": "id-token-signature",
    "no-subject": "id-token-without-subject",
}


def who(browser: Browser) -> dict[str, object]:
    answer = browser.get("/v1/whoami")
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def turned_away(answer: httpx.Response, browser: Browser) -> str:
    """The code with which a sign-in ended; nobody is signed in afterwards."""
    assert answer.status_code == 303, answer.text
    assert COOKIE not in browser.http.cookies
    page = browser.get(answer.headers["location"])
    assert page.status_code == 401
    assert 'role="alert"' in page.text
    return query_of(answer.headers["location"])["refused"]


def test_a_person_signs_in_at_the_provider_and_sees_the_page(browser: Browser) -> None:
    assert "Sign in with Test programme" in browser.get("/").text
    arrived = browser.sign_in("ada+hanbit")
    assert arrived.status_code == 200
    cookie = arrived.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert browser.get("/").status_code == 200
    me = who(browser)
    assert (me["role"], me["organisation"], me["name"]) == ("member", "hanbit", "ada")


def test_the_same_person_has_the_same_id_and_nobody_else_has_it(server: ServerProcess) -> None:
    ids = []
    for name in ("grace+hanbit", "grace+hanbit", "grace+ministry"):
        person = Browser(server.url)
        person.sign_in(name)
        ids.append(who(person)["account"])
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]
    assert "grace" not in str(ids)


def test_somebody_with_several_roles_acts_in_one_at_a_time(browser: Browser) -> None:
    browser.sign_in("mary+hanbit+audit")
    assert who(browser)["role"] == "auditor"
    page = browser.get("/").text
    assert "/login/provider?role=member&amp;organisation=hanbit" in page
    browser.http.cookies.delete(COOKIE)
    browser.sign_in("mary+hanbit+audit", "?role=member&organisation=hanbit")
    assert who(browser)["role"] == "member"
    assert browser.get("/v1/ledger/entries").status_code == 403


def test_a_role_that_one_does_not_have_cannot_be_wished_for(browser: Browser) -> None:
    assert turned_away(browser.sign_in("eve+hanbit", "?role=operator"), browser) == "no-role"


@pytest.mark.parametrize("name", ["nobody", "nobody+strangers", "nobody+gone"])
def test_whoever_has_no_role_gets_nowhere(browser: Browser, name: str) -> None:
    assert turned_away(browser.sign_in(name), browser) == "no-role"


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_identity_is_not_believed(
    server: ServerProcess, browser: Browser, forging: httpx.Client, forgery: str
) -> None:
    back = browser.log_in(browser.begin(), "mallory+office")
    forging.post("/test/forge", params={"as": forgery})
    assert turned_away(browser.http.get(back), browser) == "not-believed"
    assert FORGERIES[forgery] in server.output


def test_a_code_is_good_once(browser: Browser) -> None:
    back = browser.log_in(browser.begin(), "ada+hanbit")
    attempt = browser.http.cookies["dure_sign_in"]
    assert browser.http.get(back).status_code == 200
    browser.http.cookies.clear()
    browser.http.cookies.set("dure_sign_in", attempt, domain="127.0.0.1")
    assert turned_away(browser.http.get(back), browser) == "not-started"


def test_a_code_is_good_only_in_the_browser_that_asked_for_it(server: ServerProcess, browser: Browser) -> None:
    """A victim who follows an attacker's link must not be signed in as the attacker."""
    attacker = Browser(server.url)
    link = attacker.log_in(attacker.begin(), "mallory+hanbit")
    assert turned_away(browser.http.get(link), browser) == "not-started"
    browser.begin()
    assert turned_away(browser.http.get(link), browser) == "not-started"


def test_a_state_of_another_attempt_is_refused(browser: Browser) -> None:
    first = browser.log_in(browser.begin(), "ada+hanbit")
    second = query_of(browser.begin())["state"]
    swapped = f"{first.partition('?')[0]}?{urlencode(query_of(first) | {'state': second})}"
    # The state is that of the second attempt, so it passes; the provider sees that the code is not (PKCE).
    assert turned_away(browser.http.get(swapped), browser) == "provider-refused"


@pytest.mark.parametrize("change", [{"state": "made-up"}, {"state": ""}, {"iss": "https://elsewhere.example"}])
def test_an_answer_that_was_tampered_with_is_refused(browser: Browser, change: dict[str, str]) -> None:
    back = browser.log_in(browser.begin(), "ada+hanbit")
    tampered = f"{back.partition('?')[0]}?{urlencode(query_of(back) | change)}"
    assert turned_away(browser.http.get(tampered), browser) in ("not-started", "not-believed")


def test_the_provider_sends_people_back_here_and_nowhere_else(server: ServerProcess, browser: Browser) -> None:
    address = browser.begin()
    asked = query_of(address)
    assert asked["redirect_uri"] == f"{server.url}/login/callback"
    assert asked["code_challenge_method"] == "S256"
    elsewhere = urlencode(asked | {"redirect_uri": "https://attacker.example/login/callback"})
    refused = browser.http.get(f"{address.partition('?')[0]}?{elsewhere}")
    assert refused.status_code == 400
    assert "location" not in refused.headers


def test_the_host_that_a_request_names_changes_no_address(server: ServerProcess, browser: Browser) -> None:
    answer = browser.http.get(f"{server.url}/login/provider", headers={"Host": "attacker.example"})
    assert query_of(answer.headers["location"])["redirect_uri"] == f"{server.url}/login/callback"


def test_declining_at_the_provider_signs_nobody_in(browser: Browser) -> None:
    state = query_of(browser.begin())["state"]
    answer = browser.get(f"/login/callback?error=access_denied&state={state}")
    assert turned_away(answer, browser) == "provider-refused"


def test_a_new_key_of_the_provider_is_fetched(browser: Browser, forging: httpx.Client) -> None:
    browser.sign_in("ada+hanbit")
    browser.http.cookies.clear()
    forging.post("/test/rotate", params={"kid": f"key-{time.time_ns()}"})
    # An unknown key has the keys fetched anew once a second.
    time.sleep(1.1)
    assert browser.sign_in("ada+hanbit").status_code == 200


def test_signing_out_ends_the_session_and_needs_our_own_form(server: ServerProcess, browser: Browser) -> None:
    browser.sign_in("ada+hanbit")
    form_token = re.search(r'name="form_token" value="([0-9a-f]+)"', browser.get("/").text)
    assert form_token
    form = {"form_token": form_token[1]}
    post = f"{server.url}/logout"
    own = {"Origin": server.url}
    for data, headers in (
        (form, {}),
        (form, {"Origin": "https://attacker.example"}),
        (form, {"Origin": "null"}),
        (form, {"Origin": "http://[::1"}),
        (form, own | {"Sec-Fetch-Site": "cross-site"}),
        ({"form_token": "0" * 64}, own),
        ({}, own),
    ):
        answer = browser.http.post(post, data=data, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign-form")
    stolen = browser.http.cookies[COOKIE]
    assert browser.http.post(post, data=form, headers=own).status_code == 303
    assert COOKIE not in browser.http.cookies
    answer = httpx.get(f"{server.url}/v1/queue", headers={"Cookie": f"{COOKIE}={stolen}"}, trust_env=False)
    assert answer.status_code == 401


def test_a_session_is_for_reading_and_never_a_bearer_token(server: ServerProcess, browser: Browser) -> None:
    browser.sign_in("root+office")
    origin = {"Origin": server.url}
    assert browser.http.post(f"{server.url}/v1/tokens", json={"role": "operator"}, headers=origin).status_code == 401
    bearer = {"Authorization": f"Bearer {browser.http.cookies[COOKIE]}"}
    assert httpx.get(f"{server.url}/v1/queue", headers=bearer, trust_env=False).status_code == 401


def test_removing_an_account_ends_its_sessions(operator: httpx.Client, browser: Browser) -> None:
    browser.sign_in("leaver+hanbit")
    account = who(browser)["account"]
    assert any(each["name"] == "leaver" for each in operator.get("/v1/accounts").json()["accounts"])
    assert operator.delete(f"/v1/accounts/{account}").status_code == 200
    assert browser.get("/v1/whoami").status_code == 401
    assert "leaver" not in operator.get("/v1/accounts").text


def test_an_event_stream_ends_when_its_token_does(server: ServerProcess, operator: httpx.Client) -> None:
    issued = operator.post("/v1/tokens", json={"role": "auditor"}).json()
    node = operator.get("/v1/nodes").json()["nodes"][0]["name"]
    with server.client(issued["text"]) as http, http.stream("GET", "/v1/events") as stream:
        operator.delete(f"/v1/tokens/{issued['card']['id']}")
        operator.post(f"/v1/nodes/{node}/cordon").raise_for_status()
        operator.post(f"/v1/nodes/{node}/resume").raise_for_status()
        assert "node" not in "".join(stream.iter_text())


def test_the_command_line_signs_in_by_device_code(server: ServerProcess, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DURE_")}
    environment |= {"DURE_URL": server.url, "XDG_CONFIG_HOME": str(tmp_path), "DURE_STATE": str(tmp_path / "none")}

    def dure(*arguments: str) -> str:
        command = [sys.executable, "-m", "dure.cli.main", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    command = [sys.executable, "-u", "-m", "dure.cli.main", "login", "--role", "member"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as login:
        assert login.stderr is not None
        assert "confirm the code" in login.stderr.readline()
        address = login.stderr.readline().split()[-1]
        assert urlsplit(address).query
        Browser(server.url).approve(address, "lin+hanbit+audit")
        said, _ = login.communicate(timeout=60)
    assert said.startswith(f"Signed in to {server.url} as member of hanbit.")
    stored = tmp_path / "dure" / "tokens.json"
    assert stored.stat().st_mode & 0o777 == 0o600
    token = json.loads(stored.read_text())[server.url]
    assert "lin at" in (mine := dure("whoami"))
    assert "may read, submit" in mine
    assert "Signed out" in dure("logout")
    assert json.loads(stored.read_text()) == {}
    with server.client(token) as http:
        assert http.get("/v1/queue").status_code == 401
    assert "Nobody is signed in" in dure("logout")


def test_a_device_code_that_nobody_confirms_gives_nothing(server: ServerProcess) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        begun = http.post("/v1/sign-in/device").json()
        asked = http.post("/v1/sign-in/device/token", json={"handle": begun["handle"]})
        assert asked.json()["issued"] is None
        for handle in ("", "AAAA", begun["handle"][:-8] + "AAAAAAAA", "x" * 5000):
            answer = http.post("/v1/sign-in/device/token", json={"handle": handle})
            assert (answer.status_code, answer.json()["code"]) == (401, "device-code-expired")


def test_nothing_secret_and_nobodys_name_is_in_ledger_or_log(
    server: ServerProcess, operator: httpx.Client, browser: Browser
) -> None:
    browser.sign_in("hypatia+hanbit")
    entries = operator.get("/v1/ledger/entries", params={"limit": 1000}).text
    for secret in (server.token, "the secret of dure", browser.http.cookies[COOKIE], "hypatia"):
        assert secret not in entries
        assert secret not in server.output
