"""Talks to a Dure server: finds it, signs in, sends requests and words its refusals."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dure.cli.credentials import credentials_file, stored_token
from dure.cli.errors import BadInput, NotAccepted, Refused, Unreachable, problem_text

if TYPE_CHECKING:
    import ssl

    import httpx

DEFAULT_URL = "http://127.0.0.1:7474"
DEFAULT_STATE = ".dure"
OPERATOR_FILE = "operator.token"
BAD_INPUT_STATUSES = frozenset({400, 413, 415, 422})
TIMEOUT_S = 30.0
MOST_TRIES = 3

Params = Mapping[str, str | int | bool | None]


def state_folder() -> Path:
    """Where this machine's server keeps its state: `DURE_STATE`, or `.dure` here."""
    return Path(os.environ.get("DURE_STATE") or DEFAULT_STATE)


def connect() -> Server:
    """The server that `DURE_URL` names.

    Signed in with `DURE_TOKEN`, with what `dure login` got for it, or with the state folder's token.
    """
    url = server_url()
    return Server(url, _token(url))


def connect_without_token() -> Server:
    """The server that `DURE_URL` names, for whoever is about to sign in."""
    return Server(server_url(), "")


class Server:
    """One server. Every method raises `Unreachable`, `Refused` or `BadInput` with a message made for the user."""

    def __init__(self, url: str, token: str) -> None:
        import httpx

        self.url = url
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Proxies of the environment are for the world outside; a cluster's own server is reached directly.
        try:
            self._http = httpx.Client(
                base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False, verify=_trusted()
            )
        except httpx.InvalidURL as error:
            raise BadInput(f"DURE_URL = {url}: not an address ({error}); write it like {DEFAULT_URL}") from None

    def get(self, path: str, params: Params | None = None) -> bytes:
        """The body of an answer."""
        return self.send("GET", path, params=params)

    def find(self, path: str) -> bytes | None:
        """The body of an answer; None when there is nothing at this address."""
        with self._worded():
            answer = self._http.get(path)
            if answer.status_code == 404:
                return None
            _raise_for(answer)
            return answer.content

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = "application/json",
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The body of the answer to one request, which is sent once."""
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = content_type
        with self._worded():
            answer = self._http.request(method, path, content=body, params=_given(params), headers=sent)
            _raise_for(answer)
            return answer.content

    def submit(self, body: bytes, content_type: str, key: str | None = None, path: str = "/v1/jobs") -> bytes:
        """Submit a job document. One idempotency key covers all tries, so a lost answer never makes a second job."""
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        return self._again_if_cut_off(
            lambda: self.send("POST", path, body=body, content_type=content_type, headers=headers)
        )

    def text(self, path: str, params: Params | None = None) -> tuple[str, int]:
        """A piece of a job's output, and the offset of the byte after it."""
        with self._worded():
            answer = self._http.get(path, params=_given(params))
            _raise_for(answer)
            return answer.content.decode(errors="replace"), int(answer.headers.get("Dure-Log-Offset", "0"))

    def save(self, path: str, params: Params, target: str) -> int:
        """Write what is answered to a new file; its size. What broke off leaves no file."""
        with self._worded(), self._http.stream("GET", path, params=_given(params)) as answer:
            if answer.is_error:
                answer.read()
            _raise_for(answer)
            try:
                with open(target, "xb") as file:
                    for piece in answer.iter_bytes():
                        file.write(piece)
                    return file.tell()
            except FileExistsError:
                raise BadInput(f"{target} is there already; name another file with --to") from None
            except OSError as error:
                raise BadInput(f"{target} cannot be written: {error.strerror}") from None
            except BaseException:
                os.unlink(target)
                raise

    def events(self, path: str, params: Params | None = None) -> Iterator[tuple[str, str]]:
        """Name and data of server-sent events as they come, until the server ends the stream."""
        headers = {"Accept": "text/event-stream"}
        with (
            self._worded(),
            self._http.stream("GET", path, params=_given(params), headers=headers, timeout=None) as answer,
        ):
            if answer.is_error:
                answer.read()
            _raise_for(answer)
            yield from _events(answer.iter_lines())

    def _again_if_cut_off(self, request: Callable[[], bytes]) -> bytes:
        for tries_left in reversed(range(MOST_TRIES)):
            try:
                return request()
            except CutOff:
                if tries_left == 0:
                    raise
        raise AssertionError("unreachable: the last try returns or raises")

    @contextmanager
    def _worded(self) -> Iterator[None]:
        """Turn what the network says into what the user can do about it."""
        import httpx

        try:
            yield
        except httpx.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise Unreachable(
                    f"the certificate of {self.url} is not to be trusted ({error})\n"
                    "  If an authority of your own signed it, name its PEM file in DURE_CA."
                ) from None
            raise Unreachable(
                f"no Dure server answers at {self.url}\n"
                "  Start one with `dure up`, or set DURE_URL to the address of a running one."
            ) from None
        except httpx.TimeoutException:
            raise CutOff(f"the server at {self.url} did not answer within {TIMEOUT_S:.0f} s; try again") from None
        except httpx.TransportError as error:
            raise CutOff(f"the connection to {self.url} broke ({error}); try again") from None


def _events(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Events of a stream, as far as Dure writes them: one line of `event`, one of `data`, an empty one."""
    name = data = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            data = value
        elif not line and name:
            yield name, data
            name = data = ""


class CutOff(Unreachable):
    """The connection broke before the answer came: the request may have been carried out."""


def _trusted() -> ssl.SSLContext | bool:
    """Who may vouch for the server: `DURE_CA`, a PEM file of a programme's own authority, or whom everybody trusts."""
    import ssl

    file = os.environ.get("DURE_CA")
    if not file:
        return True
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise BadInput(f"DURE_CA = {file}: not a file of certificates ({error})") from None


def server_url() -> str:
    """The address of the server. Raises `BadInput` when it is none."""

    url = os.environ.get("DURE_URL") or DEFAULT_URL
    if not url.startswith(("http://", "https://")):
        raise BadInput(f"DURE_URL = {url}: not an address; write it like {DEFAULT_URL}")
    return url.rstrip("/")


def _token(url: str) -> str:
    token = os.environ.get("DURE_TOKEN", "").strip()
    if token:
        return _printable(token, "DURE_TOKEN")
    if stored := stored_token(url):
        return _printable(stored, str(credentials_file()))
    path = state_folder() / OPERATOR_FILE
    try:
        return _printable(path.read_text("utf-8").strip(), str(path))
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: the token cannot be read ({error}); set DURE_TOKEN instead") from None


def _printable(token: str, source: str) -> str:
    # The token itself is never shown: an error message ends up in logs.
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadInput(f"{source}: this is not a token; copy it again from `dure token create`")
    return token


def _given(params: Params | None) -> dict[str, str | int | bool]:
    return {name: value for name, value in (params or {}).items() if value is not None}


def _raise_for(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    message = _message_of(answer)
    if answer.status_code == 401 and "authorization" in answer.request.headers:
        raise NotAccepted(
            f"{message}\n"
            "  Sign in with `dure login`, set DURE_TOKEN to a valid token, or set DURE_STATE to the server's state "
            f"folder (it is {state_folder()})."
        )
    raise BadInput(message) if answer.status_code in BAD_INPUT_STATUSES else Refused(message)


def _message_of(answer: httpx.Response) -> str:
    try:
        problem: Any = answer.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict):
        return problem_text(problem)
    return f"the server at {answer.url.host} answered {answer.status_code}, which is not a Dure answer; check DURE_URL"
