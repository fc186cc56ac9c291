"""A nation of two sites and short ways to write requests about it."""

from __future__ import annotations

from importlib import resources

import pytest

from dure.intake.nation_index import NationIndex
from dure.intake.nationfile import nation_from_yaml
from dure.intake.refusals import BadInput
from dure.model.nation import Nation
from dure.policy import PolicyInForce, PolicySet

NATION = """
gpu_classes: {H100: {exchange: 1.0}, B200: {exchange: 2.2}}
timing: {protected: 10m, warning: 60s, grace: 30s, half_life: 7d}
sites:
  - name: sejong
    title: {ko: 세종, en: Sejong}
    country: KR
    owner: government
    nodes: [{name: sj, count: 8, gpus: H100:8, cpus: 64, memory: 1024GB}]
  - name: pyeongtaek
    country: KR
    owner: samsung
    nodes:
      - {name: pt, count: 4, gpus: B200:4, cpus: 128, memory: 2048GB}
      - {name: ptc, count: 2, cpus: 256, memory: 512GB}
organisations:
  - {name: government, kind: government, country: KR, title: {ko: 정부, en: Government}, projects: [public-ai]}
  - {name: samsung, kind: enterprise, country: KR, projects: [fab-vision, fab-idle]}
  - {name: haneul, kind: startup, country: KR, projects: [haneul-llm]}
  - {name: oslo-lab, kind: partner, country: KR, parent_country: NO, projects: [climate]}
  - {name: newcomer, kind: sme, country: KR, projects: [first-try]}
shares:
  - name: government
    guarantee: {H100: 48}
    lend: {H100: 32}
    weight: 2
    children:
      - {name: public-ai, guarantee: {H100: 32}, lend: {H100: 8}}
      - name: members
        guarantee: {H100: 16}
        children:
          - {name: haneul, guarantee: {H100: 8}}
          - {name: oslo-lab, limit: {H100: 8}}
  - {name: samsung, guarantee: {B200: 16}, lend: {B200: 0}}
datasets:
  - name: fab-yield
    owner: samsung
    classes: [national-core-technology]
    jurisdiction: KR
    purposes: [research]
    sites: [pyeongtaek]
    readers: [haneul]
    paths: {pyeongtaek: /data/fab-yield}
  - {name: texts, owner: government, classes: [public], jurisdiction: KR, purposes: [research], sites: [sejong],
     readers: ["*"]}
"""


def policy_set() -> PolicySet:
    rules = resources.files("dure.policy") / "rules"
    texts = {each.name: each.read_text(encoding="utf-8") for each in rules.iterdir()}
    schema = texts.pop("schema.cedarschema")
    return PolicySet(schema, texts)


@pytest.fixture(scope="session")
def nation() -> Nation:
    return nation_from_yaml(NATION)


@pytest.fixture(scope="session")
def index(nation: Nation) -> NationIndex:
    return NationIndex(nation)


@pytest.fixture(scope="session")
def policy(nation: Nation) -> PolicyInForce:
    return PolicyInForce(policy_set(), nation)


def lines(error: pytest.ExceptionInfo[BadInput]) -> list[str]:
    """Every problem as people read it."""
    return [str(problem) for problem in error.value.problems]
