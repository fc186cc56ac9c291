"""`dure run` and `dure logs`: output as it comes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from dure.cli.options import quoted

if TYPE_CHECKING:
    from dure.cli.client import Server

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
INTERRUPTED = 130
SIGNAL_BASE = 128
"""A process that a signal ended is reported as 128 plus the signal, as shells do."""
UNKNOWN_FAILURE = 1
STOP_AT_COMMAND = {"allow_interspersed_args": False}
"""What follows the first word that is no option belongs to the command, with or without `--` before it."""


@click.command(context_settings=STOP_AT_COMMAND)
@click.option("--gpus", metavar="GPUS", help="GPUs per node, such as H100:8, 2 or 0.5.")
@click.option("--nodes", metavar="N", help="Number of nodes; the command runs once on each.  [default: 1]")
@click.option("--time", "time_limit", metavar="TIME", help="Time limit, such as 90s, 4h or 04:00:00.")
@click.option("--project", metavar="NAME", envvar="DURE_PROJECT", help="Project to run under, or set DURE_PROJECT.")
@click.option("--name", metavar="TEXT", help="Name of the job.  [default: the program's]")
@click.option("--cpus", metavar="N", help="CPUs per node.")
@click.option("--memory", metavar="AMOUNT", help="Memory per node, such as 64GB.")
@click.option(
    "--workdir", metavar="FOLDER", help="Folder to run in.  [default: this one, if the server is on this machine]"
)
@click.argument("command", metavar="-- CMD [ARG]...", nargs=-1, required=True, type=click.UNPROCESSED)
def run(command: tuple[str, ...], time_limit: str | None, **fields: str | None) -> None:
    """Run CMD as a job, show its output and end with its exit code.

    Ctrl-C asks whether to cancel the job; without a terminal it cancels at once.
    """
    import msgspec

    from dure.cli.client import connect

    server = connect()
    document: dict[str, Any] = {key: value for key, value in fields.items() if value is not None}
    document.setdefault("name", os.path.basename(command[0]) or "job")
    document["command"] = list(command)
    if time_limit is not None:
        document["time"] = time_limit
    if "workdir" not in document and _is_local(server.url):
        document["workdir"] = os.getcwd()
    accepted: dict[str, Any] = msgspec.json.decode(server.submit(msgspec.json.encode(document), "application/json"))
    for warning in accepted["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    job = accepted["jobs"][0]
    click.echo(f"{job} submitted", err=True)
    sys.exit(_follow_to_the_end(server, job))


def _is_local(url: str) -> bool:
    from urllib.parse import urlsplit

    return urlsplit(url).hostname in LOCAL_HOSTS


def _follow_to_the_end(server: Server, job: str) -> int:
    """Show the job's output until it is over, whatever happens to the connection; its exit code for this process."""
    reader = LogReader(server, job, rank=0, attempt=None)
    while True:
        try:
            for text in reader.follow():
                _write(text)
            return _exit_code(reader.end)
        except KeyboardInterrupt:
            if _wants_cancel(job):
                server.send("POST", f"/v1/jobs/{quoted(job)}/cancel")
                click.echo(f"{job}: asked to stop", err=True)
                return INTERRUPTED
            click.echo(f"{job} goes on; follow it again with `dure logs -f {job}`", err=True)
            return INTERRUPTED


def _wants_cancel(job: str) -> bool:
    if not sys.stdin.isatty():
        return True
    try:
        return click.confirm(f"\nCancel {job}?", default=True, err=True)
    except click.Abort:
        return True


def _exit_code(end: dict[str, Any]) -> int:
    code = end.get("exit_code")
    if end.get("state") == "succeeded":
        return 0
    click.echo(f"the job ended as {end.get('state')}", err=True)
    if not isinstance(code, int) or code == 0:
        return UNKNOWN_FAILURE
    return SIGNAL_BASE - code if code < 0 else code


@click.command()
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job is over.")
@click.option("--rank", type=click.IntRange(min=0), default=0, show_default=True, help="Which node's output.")
@click.option("--attempt", type=click.IntRange(min=1), help="Which attempt's.  [default: the latest; all with -f]")
def logs(job: str, follow: bool, rank: int, attempt: int | None) -> None:
    """Print the output of JOB."""
    from dure.cli.client import connect

    reader = LogReader(connect(), job, rank, attempt)
    try:
        for text in reader.follow() if follow else reader.so_far():
            _write(text)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


class LogReader:
    """Reads one rank's output, and knows how far it came, so that a broken connection loses and repeats nothing."""

    def __init__(self, server: Server, job: str, rank: int, attempt: int | None) -> None:
        self._server = server
        self._path = f"/v1/jobs/{quoted(job)}/log"
        self._rank = rank
        self._attempt = attempt
        self._seen_attempt: int | None = None
        self._offset = 0
        self.end: dict[str, Any] = {}
        """How the job stood when its output was over."""

    def so_far(self) -> Iterator[str]:
        """What there is now, in pieces."""
        while True:
            text, self._offset = self._server.text(self._path, self._params(self._attempt))
            if not text:
                return
            yield text

    def follow(self) -> Iterator[str]:
        """What there is and what comes, until the job is over."""
        from dure.cli.client import CutOff

        failures = 0
        while not self.end:
            try:
                for text in self._events():
                    failures = 0
                    yield text
            except CutOff:
                failures += 1
                if failures > 5:
                    raise

    def _events(self) -> Iterator[str]:
        import msgspec

        for name, data in self._server.events(self._path, self._params(self._attempt or self._seen_attempt)):
            body = msgspec.json.decode(data)
            if name == "output":
                self._seen_attempt, self._offset = body["attempt"], body["offset"]
                yield body["text"]
            elif name == "end":
                self.end = body

    def _params(self, attempt: int | None) -> dict[str, int | None]:
        return {"rank": self._rank, "attempt": attempt, "offset": self._offset}


def _write(text: str) -> None:
    click.echo(text, nl=False)
