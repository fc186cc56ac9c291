"""One platform and one real identity provider for all tests of signing in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.control.builders import NATION
from tests.control.server import ServerProcess, running_server
from tests.identity.people import IS_THERE, WHY_NOT, Browser, free_port, running_provider

IDENTITY = """
provider:
  issuer: {issuer}
  client_id: dure
  client_secret_file: client.secret
  scopes: [openid, profile]
  title: Test programme
roles:
  - {{group: office, role: operator}}
  - {{group: audit, role: auditor}}
  - {{group: hanbit-heads, role: administrator, organisation: hanbit}}
  - {{group: hanbit, role: member, organisation: hanbit}}
  - {{group: ministry, role: member, organisation: ministry}}
  - {{group: gone, role: member, organisation: no-longer-there}}
"""


@pytest.fixture(scope="session")
def signing_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, str]]:
    """A platform that knows a provider, and the provider's issuer."""
    if not IS_THERE:
        pytest.skip(WHY_NOT)
    folder: Path = tmp_path_factory.mktemp("identity")
    port = free_port()
    redirect_uri = f"http://127.0.0.1:{port}/login/callback"
    with running_provider(redirect_uri, folder / "provider.output") as issuer:
        secret = folder / "client.secret"
        secret.write_text("the secret of dure\n")
        secret.chmod(0o600)
        (folder / "identity.yaml").write_text(IDENTITY.format(issuer=issuer))
        options = ["--identity", str(folder / "identity.yaml")]
        with running_server(folder / "state", port, options) as server:
            with server.client() as http:
                headers = {"Content-Type": "application/yaml"}
                http.put("/v1/nation", content=NATION, headers=headers).raise_for_status()
            yield server, issuer


@pytest.fixture
def server(signing_in: tuple[ServerProcess, str]) -> ServerProcess:
    return signing_in[0]


@pytest.fixture
def issuer(signing_in: tuple[ServerProcess, str]) -> str:
    return signing_in[1]


@pytest.fixture
def operator(server: ServerProcess) -> Iterator[httpx.Client]:
    with server.client() as http:
        yield http


@pytest.fixture
def browser(server: ServerProcess) -> Iterator[Browser]:
    person = Browser(server.url)
    with person.http:
        yield person


@pytest.fixture
def forging(issuer: str) -> Iterator[httpx.Client]:
    """Has the provider answer with forged ID tokens: `POST /test/forge?as=...`; it is honest again afterwards."""
    with httpx.Client(base_url=issuer, trust_env=False) as http:
        yield http
        http.post("/test/forge", params={"as": ""})
