"""Who is signed in with a browser, as pages show it."""

from __future__ import annotations

from msgspec import Struct

from dure.control.access import Grant, Role


class Reader(Struct, frozen=True, kw_only=True):
    """Who reads a page, by a browser's session. `form_token` is what a form of ours must send back."""

    name: str
    role: Role
    organisation: str
    form_token: str
    other_grants: tuple[Grant, ...] = ()
    """What else the same person may sign in as."""
