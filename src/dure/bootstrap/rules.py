"""The rules that come with Dure, and who hears of it when judging by them fails."""

from __future__ import annotations

import logging
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dure.policy import PolicySet

log = logging.getLogger("dure.policy")


def make_policy_set() -> PolicySet:
    """The rules that come with Dure. An error while deciding is logged as one: somebody has to mend something."""
    from dure.policy import Alarm, PolicySet

    texts = {each.name: each.read_text("utf-8") for each in files("dure.policy").joinpath("rules").iterdir()}
    schema = next(text for name, text in texts.items() if name.endswith(".cedarschema"))
    policies = {name: text for name, text in texts.items() if name.endswith(".cedar")}
    return PolicySet(schema, policies, alarm=Alarm(lambda said: log.error("policy error, so denied: %s", said)))
