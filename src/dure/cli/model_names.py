"""How models are written at the command line: `model`, `organisation/model`, and `@` with a version or an alias."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dure.cli.client import Server

LATEST = "latest"


class Named(NamedTuple):
    """A model that somebody named, and the version; `latest` unless they said which."""

    organisation: str
    model: str
    version: str

    @property
    def path(self) -> str:
        """The model's place in the interface."""
        from dure.cli.options import quoted

        return f"/v1/models/{quoted(self.organisation)}/{quoted(self.model)}"

    @property
    def version_path(self) -> str:
        """The version's place in the interface."""
        from dure.cli.options import quoted

        return f"{self.path}/versions/{quoted(self.version)}"


def named(text: str, server: Server) -> Named:
    """What a text names. A model without an organisation is one of the caller's own. Raises `BadInput`."""
    import msgspec

    from dure.cli.errors import BadInput

    model, _, version = text.partition("@")
    organisation, slash, name = model.rpartition("/")
    if not name or (slash and not organisation):
        raise BadInput(f"{text!r} names no model; write it like chat-8b, or hanbit/chat-8b@3")
    if not organisation:
        organisation = msgspec.json.decode(server.get("/v1/whoami"))["organisation"]
    if not organisation:
        raise BadInput(f"{text}: your role is for no organisation, so say whose model it is, like hanbit/{text}")
    return Named(organisation, name, version or LATEST)
