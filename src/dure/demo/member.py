"""One member of the nation, who talks to the platform as everybody does: over HTTP, with a token of its own."""

from __future__ import annotations

import secrets
from typing import Any, TypeVar

import httpx
import msgspec

from dure.control.preview import Preview
from dure.model.blockers import Why
from dure.model.nation import Nation
from dure.reports.jobs import JobReport, QueueReport
from dure.reports.ledger import LedgerReport
from dure.reports.shares import ShareLine, SharesReport

TIMEOUT_S = 30.0
JobDocument = dict[str, Any]
"""A job file's fields."""

Answer = TypeVar("Answer")


class Refused(Exception):
    """The platform said no. `status`, `code` and the message are those of its problem document."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Member:
    """A token and what can be done with it. `name` is the organisation, or the role of whoever belongs to none.

    Every method raises `Refused`, and `httpx.TransportError` when the platform does not answer.
    """

    def __init__(self, url: str, token: str, name: str, title: str) -> None:
        self.name = name
        self.title = title
        self._url = url
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def declare(self, nation_document: bytes) -> None:
        """Apply a nation file; for operators."""
        self._ask("PUT", "/v1/nation", content=nation_document, headers={"Content-Type": "application/yaml"})

    def invite(self, role: str, organisation: str = "", title: str = "") -> Member:
        """Whoever gets a new token of this role; for operators."""
        issued = self._ask("POST", "/v1/tokens", json={"role": role, "organisation": organisation}).json()
        return Member(self._url, issued["text"], organisation or role, title or organisation or role)

    def nation(self) -> Nation:
        """What is declared."""
        return self._get("/v1/nation", Nation)

    def submit(self, document: JobDocument) -> str:
        """Submit a job; returns its id."""
        key = {"Idempotency-Key": secrets.token_hex(16)}
        job: str = self._ask("POST", "/v1/jobs", json=document, headers=key).json()["jobs"][0]
        return job

    def plan(self, document: JobDocument) -> Preview:
        """What would happen to a job."""
        return msgspec.json.decode(self._ask("POST", "/v1/plan", json=document).content, type=Preview)

    def job(self, job: str) -> JobReport:
        """Everything about a job."""
        return self._get(f"/v1/jobs/{job}", JobReport)

    def why(self, job: str) -> Why:
        """Why a job waits."""
        return self._get(f"/v1/jobs/{job}/why", Why)

    def queue(self) -> QueueReport:
        """Who runs and who waits."""
        return self._get("/v1/queue", QueueReport)

    def share(self, name: str, gpu_class: str) -> ShareLine:
        """One share's line for one GPU class."""
        lines = self._get("/v1/shares", SharesReport).shares
        return next(line for line in lines if (line.name, line.gpu_class) == (name, gpu_class))

    def checkpoint(self) -> LedgerReport:
        """The ledger's last signed checkpoint."""
        return self._get("/v1/ledger/checkpoint", LedgerReport)

    def output(self, job: str, attempt: int, rank: int, offset: int) -> tuple[str, int]:
        """A piece of a job's output, and the offset after it."""
        params = {"attempt": attempt, "rank": rank, "offset": offset}
        answer = self._ask("GET", f"/v1/jobs/{job}/log", params=params)
        return answer.content.decode(errors="replace"), int(answer.headers["Dure-Log-Offset"])

    def sign_in_link(self) -> str:
        """A link that signs a browser in as this member, once."""
        return self._url + str(self._ask("POST", "/v1/sign-in-links").json()["path"])

    def _get(self, path: str, kind: type[Answer]) -> Answer:
        return msgspec.json.decode(self._ask("GET", path).content, type=kind)

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        answer = self._http.request(method, path, **content)
        if answer.is_success:
            return answer
        problem = answer.json()
        raise Refused(answer.status_code, problem["code"], problem["detail"])
