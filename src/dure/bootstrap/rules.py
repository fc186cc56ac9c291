"""The rules that come with Dure."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dure.policy import PolicySet


def make_policy_set() -> PolicySet:
    """The rules that come with Dure."""
    from dure.policy import PolicySet

    texts = {each.name: each.read_text("utf-8") for each in files("dure.policy").joinpath("rules").iterdir()}
    schema = next(text for name, text in texts.items() if name.endswith(".cedarschema"))
    return PolicySet(schema, {name: text for name, text in texts.items() if name.endswith(".cedar")})
