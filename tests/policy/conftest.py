"""The rules as they are shipped, and a small nation to ask them about."""

from __future__ import annotations

from importlib import resources

import pytest

from dure.policy import PolicySet

RULES = resources.files("dure.policy") / "rules"
SCHEMA = (RULES / "schema.cedarschema").read_text(encoding="utf-8")
POLICIES = {each.name: each.read_text(encoding="utf-8") for each in RULES.iterdir() if each.name.endswith(".cedar")}


@pytest.fixture(scope="session")
def schema() -> str:
    return SCHEMA


@pytest.fixture(scope="session")
def policies() -> dict[str, str]:
    return POLICIES


@pytest.fixture(scope="session")
def policy_set() -> PolicySet:
    return PolicySet(SCHEMA, POLICIES)
