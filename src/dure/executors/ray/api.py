"""Ray's Jobs API, and what it means when a request fails."""

from __future__ import annotations

from enum import Enum, auto
from pathlib import Path
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from dure.executors.contract import ExecutorError
from dure.executors.ray.site import RaySite

_FORBIDDEN = (401, 403)
_NOT_FOUND = 404
_LONGEST_COMPLAINT = 300


class RayRefused(Exception):
    """Ray will not do what it was asked, however often it is asked."""


class Phase(Enum):
    """What Ray's status of a job means."""

    ALIVE = auto()
    OVER = auto()


class RayJob(Struct, frozen=True, kw_only=True):
    """A job as Ray knows it. One that was not submitted through the Jobs API has no submission id."""

    submission_id: str | None = None
    status: str
    message: str | None = None

    @property
    def phase(self) -> Phase:
        """Whether it may still run."""
        return Phase.ALIVE if self.status in ("PENDING", "RUNNING") else Phase.OVER


class RayNode(Struct, frozen=True, kw_only=True):
    """A node of the cluster."""

    node_name: str
    state: str
    state_message: str | None = None
    resources_total: dict[str, float] = {}


class RayApi:
    """Talks to one cluster. Every call raises `ExecutorError` when Ray does not answer, or not to us."""

    def __init__(self, site: RaySite) -> None:
        self._site = site
        self._client = httpx.Client(base_url=site.address, timeout=site.request_timeout_s)

    def submit(self, document: dict[str, Any]) -> None:
        """Have a job run. Raises `RayRefused` when there was one of that id before, or the document makes no sense."""
        answer = self._ask("POST", "/api/jobs/", document)
        if answer.status_code != httpx.codes.OK:
            raise RayRefused(_complaint(answer))

    def job(self, submission_id: str) -> RayJob | None:
        """What Ray knows of a job; None when it knows none."""
        answer = self._ask("GET", f"/api/jobs/{submission_id}")
        return None if answer.status_code == _NOT_FOUND else self._read(answer, RayJob)

    def jobs(self) -> dict[str, RayJob]:
        """Every job of the cluster that was submitted through the Jobs API, by submission id."""
        found = self._read(self._ask("GET", "/api/jobs/"), list[RayJob])
        return {job.submission_id: job for job in found if job.submission_id}

    def stop(self, submission_id: str) -> None:
        """Have Ray end a job in its own way. Does nothing to one that is over or unknown."""
        self._ask("POST", f"/api/jobs/{submission_id}/stop")

    def delete(self, submission_id: str) -> None:
        """Have Ray forget a job that is over."""
        self._ask("DELETE", f"/api/jobs/{submission_id}")

    def nodes(self) -> list[RayNode]:
        """The nodes in service."""
        answer = self._ask("GET", "/api/v0/nodes?detail=true&limit=10000")
        listed = self._read(answer, dict[str, Any])
        try:
            nodes = msgspec.convert(listed["data"]["result"]["result"], list[RayNode])
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise ExecutorError(f"Ray at {self._site.address} lists its nodes as Dure cannot read: {error}") from None
        return [node for node in nodes if node.state == "ALIVE"]

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _ask(self, method: str, path: str, document: dict[str, Any] | None = None) -> httpx.Response:
        address = self._site.address
        try:
            answer = self._client.request(method, path, json=document, headers=self._credentials())
        except httpx.TimeoutException:
            raise ExecutorError(f"Ray at {address} took longer than {self._site.request_timeout_s:g} s") from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ExecutorError(f"Ray at {address} does not answer: {error}") from None
        if answer.status_code in _FORBIDDEN:
            raise ExecutorError(f"Ray at {address} does not let Dure in ({answer.status_code}): {self._about_token()}")
        return answer

    def _credentials(self) -> dict[str, str]:
        """Read anew each time, so that a new token counts at once."""
        if not self._site.token_file:
            return {}
        try:
            token = Path(self._site.token_file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ExecutorError(f"the token file {self._site.token_file} cannot be read: {error}") from None
        return {"Authorization": f"Bearer {token}"}

    def _about_token(self) -> str:
        if self._site.token_file:
            return f"put the cluster's present token into {self._site.token_file}"
        return "it wants a token; write it to a file, and name that as token_file of the site"

    def _read(self, answer: httpx.Response, form: Any) -> Any:
        if answer.status_code != httpx.codes.OK:
            raise ExecutorError(f"Ray at {self._site.address} answered {answer.status_code}: {_complaint(answer)}")
        try:
            return msgspec.json.decode(answer.content, type=form)
        except msgspec.DecodeError as error:
            raise ExecutorError(f"Ray at {self._site.address} said what Dure does not understand: {error}") from None


def _complaint(answer: httpx.Response) -> str:
    """The last line of what Ray says, which is a traceback more often than not."""
    lines = [line.strip() for line in answer.text.splitlines() if line.strip(" .\n")]
    return lines[-1][:_LONGEST_COMPLAINT] if lines else f"status {answer.status_code}"
