"""Job files, `#SBATCH` scripts and nation files: accepted and usable, or refused with reasons."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dure.control.access import PLATFORM
from dure.control.preview import try_out
from dure.control.requests import ApplyNation, SubmitJob
from dure.intake.agreement_rules import refuse_terms
from dure.intake.agreements import terms_from_yaml, terms_to_document
from dure.intake.jobfile import job_from_json, job_from_yaml
from dure.intake.nationfile import nation_from_document, nation_from_yaml, write_nation
from dure.intake.refusals import BadInput, Problem
from dure.intake.sbatch import job_from_sbatch
from dure.model.agreements import Terms
from dure.model.jobs import JobSpec
from dure.model.nation import Nation
from tests.control.builders import NATION, START_MS, ask, empty_control, small_control
from tests.fuzz.spoiling import EXAMPLES, no_hang, spoilt_bytes, spoilt_documents, spoilt_texts

MOST_NODES_TRIED = 2_000
"""A nation of millions of nodes is right, and not what is tried here."""

JOBS: list[dict[str, Any]] = [
    {"name": "train", "project": "chat", "command": "python train.py", "nodes": 2, "gpus": "H100:4", "time": "4h",
     "checkpoint": {"every": "30m", "signal": "USR1"}, "retry": {"limit": 3, "backoff": "1m"}, "env": {"A": "1"}},
    {"name": "sweep", "project": "vision", "command": ["python", "x.py"], "gpus": ["H100:2", "0.5"], "array": "0-9",
     "depends": ["j12", "j13_0"], "priority": 5, "preemptible": False, "memory": "64GB", "cpus": 4},
    {"name": "chat", "project": "chat", "command": "serve", "gpus": "H100:1",
     "replicas": {"min": 1, "max": 3, "profile": {"00:00": 1, "08:00": 3}, "timezone": "+09:00"}},
    {"name": "grow", "project": "chat", "command": "x", "nodes": 4, "min_nodes": 1, "gpus": "2", "within": "rack",
     "checkpoint": {"signal": "USR1"}, "not_before": "2027-03-02T22:00:00+09:00"},
    {"name": "read", "project": "chat", "script": "#!/bin/sh\nx\n", "setup": "y", "data": "scans",
     "purpose": "research", "secrets": ["TOKEN"], "workdir": "/tmp", "deadline": "2099-03-03T08:00:00+09:00",
     "not_after": "2098-01-01T00:00:00Z"},
]  # fmt: skip

SCRIPTS = [
    """#!/bin/bash
#SBATCH --job-name=train
#SBATCH --account=chat
#SBATCH --nodes=2
#SBATCH --gpus-per-node=h100:4
#SBATCH --time=1-12:30:00
#SBATCH --mem=64G
#SBATCH --signal=B:USR1@60
#SBATCH --requeue
srun python train.py
""",
    """#!/bin/bash
#SBATCH -J sweep -A vision -N1
#SBATCH --array=0-99%10
#SBATCH --gres=gpu:h100:2
#SBATCH -c 8 -t 30
#SBATCH --dependency=afterok:j12:j13
#SBATCH --ntasks-per-node=4 --exclusive
python x.py
""",
]

NATIONS = [
    yaml.safe_load(NATION),
    yaml.safe_load(
        """
gpu_classes: {H100: {exchange: 1.5, fractions: {step: 0.1}, mig: [1g.10gb, 3g.40gb]}, B200: {half_life: 3d}}
timing: {protected: 10m, warning: 60s, grace: 30s, half_life: 7d, backfill_reservations: 4, suspect_after: 3}
sites:
  - name: sejong
    title: {ko: 세종, en: Sejong}
    country: KR
    owner: ministry
    engine: slurm
    assurances: [{scheme: csap, grade: high, valid_from: "2026-01-01T00:00Z", valid_to: "2030-01-01T00:00Z"}]
    nodes:
      - {name: sj, count: 4, gpus: "H100:8", cpus: 64, memory: 1TB, topology: {domain: 2, rack: 2, spare: 1}}
      - {name: sb, count: 2, gpus: "B200:4", cpus: 64, memory: 512GB}
organisations:
  - {name: ministry, kind: government, country: KR, projects: [weather]}
  - {name: oslo, kind: partner, country: KR, parent_country: "NO", projects: [climate, ice]}
shares:
  - name: ministry
    guarantee: {H100: 16}
    lend: {H100: 8}
    reclaim_per_hour: {H100: 4}
    children: [{name: weather, guarantee: {H100: 8}, limit: {H100: 16}}]
  - {name: oslo, guarantee: {B200: 4}, weight: 3}
datasets:
  - {name: scans, owner: ministry, classes: [medical], jurisdiction: KR, purposes: [research], sites: [sejong],
     readers: [oslo], paths: {sejong: /data/scans}, size_bytes: 9, state_funded: true, assurance: [{scheme: csap,
     grade: low}], embargo_until: "2027-03-02T09:00:00+09:00", title: {ko: 영상, en: Scans}}
  - {name: lots, owner: ministry, classes: [secret], jurisdiction: KR, purposes: [statistics], sites: [sejong]}
data_classes: [{name: secret, restricted: true, title: {ko: 비밀}}]
assurance_schemes: [{name: csap, grades: [low, high]}]
reservations:
  - {name: course, for: oslo, gpu_class: H100, count: 2, from: "2027-03-02T09:00:00+09:00",
     until: "2027-03-02T18:00:00+09:00"}
"""
    ),
]

AGREEMENTS: list[dict[str, Any]] = [
    {"provider": "ministry", "recipient": "oslo", "datasets": ["scans"], "purposes": ["research"],
     "operations": ["compute", "view-results"], "sites": "sejong", "from": "2026-01-01T00:00:00+09:00",
     "until": "2028-01-01T00:00:00+09:00", "transfer_basis": "contract", "clearance": "approved",
     "clearance_reference": "2027-11", "conditions": ["sandbox"]},
]  # fmt: skip

CONTROL = small_control()


def read_or_refused(read: Callable[[Any], Any], document: Any) -> Any:
    """What was read; None when it was refused, with reasons that can be printed."""
    problems: tuple[Problem, ...] = ()
    with no_hang(lambda: repr(document)):
        try:
            return read(document)
        except BadInput as bad:
            problems = bad.problems
    assert problems
    assert all(str(problem).encode() and len(str(problem)) < 2_000 for problem in problems)
    return None


def use_job(spec: JobSpec | None) -> None:
    """Judge it, and try it out on a copy of the world: refused or not, nothing else happens."""
    if spec is not None:
        with no_hang(lambda: repr(spec)):
            try_out(CONTROL.memory, PLATFORM, spec, START_MS)


def use_nation(nation: Nation | None) -> None:
    """Declare it, and write it down again."""
    if nation is None or sum(group.count for _, group in nation.node_groups()) > MOST_NODES_TRIED:
        return
    with no_hang(lambda: repr(nation)):
        ask(empty_control(), ApplyNation(caller=PLATFORM, nation=nation))
        assert nation_from_yaml(write_nation(nation)) == nation


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_documents(JOBS))
def test_a_job_with_wrong_values_is_refused_or_can_be_judged(document: Any) -> None:
    use_job(read_or_refused(job_from_json, json.dumps(document).encode()))


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_bytes([json.dumps(job) for job in JOBS]))
def test_json_that_is_none_is_refused(body: bytes) -> None:
    use_job(read_or_refused(job_from_json, body))


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_texts([yaml.safe_dump(job) for job in JOBS]))
def test_yaml_that_is_none_is_refused(text: str) -> None:
    use_job(read_or_refused(job_from_yaml, text))


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_texts(SCRIPTS))
def test_a_script_is_refused_or_can_be_judged(text: str) -> None:
    job = read_or_refused(job_from_sbatch, text)
    use_job(job.spec if job else None)


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_documents(NATIONS))
def test_a_nation_with_wrong_values_is_refused_or_can_be_declared(document: Any) -> None:
    use_nation(read_or_refused(nation_from_document, document))


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_texts([yaml.safe_dump(each) for each in NATIONS]))
def test_a_nation_file_that_is_none_is_refused(text: str) -> None:
    use_nation(read_or_refused(nation_from_yaml, text))


def use_terms(terms: Terms | None) -> None:
    """Judge them, and write them down again."""
    if terms is not None:
        refuse_terms(terms, CONTROL.memory.world.nation, START_MS)
        assert terms_from_yaml(yaml.safe_dump(terms_to_document(terms), allow_unicode=True)) == terms


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_documents(AGREEMENTS))
def test_an_agreement_with_wrong_values_is_refused_or_can_be_judged(document: Any) -> None:
    use_terms(read_or_refused(lambda each: terms_from_yaml(json.dumps(each)), document))


@settings(max_examples=EXAMPLES, deadline=None)
@given(spoilt_texts([yaml.safe_dump(each) for each in AGREEMENTS]))
def test_an_agreement_file_that_is_none_is_refused(text: str) -> None:
    use_terms(read_or_refused(terms_from_yaml, text))


@settings(max_examples=40, deadline=None)
@given(st.lists(spoilt_documents(JOBS), max_size=4))
def test_jobs_that_are_read_can_be_accepted_together(documents: list[Any]) -> None:
    control = small_control()
    specs = [read_or_refused(job_from_json, json.dumps(each).encode()) for each in documents]
    requests = [SubmitJob(caller=PLATFORM, spec=spec) for spec in specs if spec is not None]
    control.commit(control.step(requests, [], START_MS))
    assert not control.halted
    control.rebuild()
