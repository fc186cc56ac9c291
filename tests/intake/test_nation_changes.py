"""What a change of the nation looks like, and what must wait."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from dure.intake.nation_changes import GUARDS, difference, refuse_nation_change, refuse_new_copies
from dure.intake.nationfile import nation_from_yaml
from dure.intake.refusals import RefusalCode
from dure.model.agreements import Agreement, AgreementState, Operation, Terms
from dure.model.datasets import Purpose
from dure.model.events import JobSubmitted
from dure.model.jobs import JobState
from dure.model.nation import Nation
from dure.model.plan import Placement
from dure.world.cards import JobCard

from .conftest import NATION
from .test_nationfile import nations


def changed(*replacements: tuple[str, str]) -> Nation:
    text = NATION
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    return nation_from_yaml(text)


def changes(*replacements: tuple[str, str]) -> list[str]:
    return [str(change) for change in difference(nation_from_yaml(NATION), changed(*replacements))]


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("guarantee: {H100: 48}", "guarantee: {H100: 56}", ["~ share government guarantee H100: 48 -> 56"]),
        ("limit: {H100: 8}", "weight: 3",
         ["~ share oslo-lab weight: 1 -> 3", "~ share oslo-lab limit H100: 8 -> (none)"]),
        ("count: 8", "count: 9", ["~ node group sj count: 8 -> 9"]),
        ("half_life: 7d", "half_life: 1d", ["~ timing half-life: 7d -> 1d"]),
        ("lend: {H100: 32}", "lend: {H100: 32}\n    reclaim_per_hour: {H100: 16}",
         ["~ share government reclaim per hour H100: (none) -> 16"]),
        ("exchange: 2.2", "exchange: 2.2, half_life: 30d", ["~ GPU class B200 half-life: (none) -> 30d"]),
        ("exchange: 2.2", "exchange: 2", ["~ GPU class B200 exchange: 2.2 -> 2.0"]),
        (", fab-idle]", "]", ["- project fab-idle"]),
        ("[fab-vision, fab-idle]", "[fab-idle, fab-vision]",
         ["~ organisation samsung order of projects: fab-vision, fab-idle -> fab-idle, fab-vision"]),
        ("readers: [haneul]", "readers: [haneul, samsung]", ["~ dataset fab-yield readers: haneul -> haneul, samsung"]),
        ("paths: {pyeongtaek: /data/fab-yield}", "paths: {pyeongtaek: /d}",
         ["~ dataset fab-yield path at pyeongtaek: /data/fab-yield -> /d"]),
        ("title: {ko: 세종, en: Sejong}", "title: {ko: 세종시}",
         ["~ site sejong Korean title: 세종 -> 세종시", "~ site sejong English title: Sejong -> (none)"]),
        ("readers: [haneul]", "readers: [haneul]\n    state_funded: true\n    size_bytes: 4096",
         ["~ dataset fab-yield size: (none) -> 4,096 bytes", "~ dataset fab-yield state-funded: no -> yes"]),
        ("datasets:\n", "data_classes: [{name: own, restricted: false}]\ndatasets:\n", ["+ data class own"]),
        ("sites:\n", "assurance_schemes: [{name: isms, grades: [p]}]\nsites:\n", ["+ assurance scheme isms"]),
        ("organisations:\n", "organisations:\n  - {name: new, kind: sme, country: KR, projects: [p]}\n",
         ["+ organisation new", "+ project p"]),
        ("      - {name: ptc, count: 2, cpus: 256, memory: 512GB}\n", "", ["- node group ptc"]),
    ],
)  # fmt: skip
def test_a_change_reads_as_a_line(old: str, new: str, lines: list[str]) -> None:
    assert changes((old, new)) == lines


def test_a_first_nation_is_all_additions(nation: Nation) -> None:
    assert {str(change)[0] for change in difference(None, nation)} == {"+", "~"}
    assert "+ site sejong" in [str(change) for change in difference(None, nation)]
    assert difference(None, Nation()) == ()


@settings(max_examples=40, deadline=None)
@given(nations(), nations())
def test_the_difference_is_empty_exactly_when_nothing_changes(old: Nation, new: Nation) -> None:
    assert difference(old, old) == ()
    assert (difference(old, new) == ()) == (old == new)


def card(state: JobState = JobState.RUNNING, node: str = "sj-0003", job: str = "j1") -> JobCard:
    submitted = JobSubmitted(
        at_ms=0,
        job=job,
        project="haneul-llm",
        by="p",
        commitment="",
        gpus=(("H100", 1000),),
        nodes=1,
        cpus=1,
        memory_mib=1,
        time_ms=1,
        within="site",
        priority=0,
        preemptible=True,
        checkpoint_every_ms=0,
        retry_limit=0,
        retry_backoff_ms=0,
        depends=(),
        data=("texts",),
        purpose="research",
        sites=("sejong",),
    )
    placements = (Placement(node=node, gpus=(0,), milli=1000),) if state is JobState.RUNNING else ()
    return JobCard(job=job, submitted=submitted, row=0, state=state, placements=placements)


def refusal(*replacements: tuple[str, str], state: JobState = JobState.RUNNING) -> tuple[RefusalCode, str]:
    answer = refuse_nation_change(nation_from_yaml(NATION), changed(*replacements), [card(state)])
    assert answer is not None
    return answer.code, answer.message


WAIT = "while in use by j1; cancel it or wait for it to end"
NO_HANEUL_SHARE = (
    "          - {name: haneul, guarantee: {H100: 8}}\n",
    "",
)
SEJONG = "    nodes: [{name: sj, count: 8, gpus: H100:8, cpus: 64, memory: 1024GB}]\n"


def test_a_project_with_jobs_keeps_its_organisation_and_its_share() -> None:
    assert refusal(("[haneul-llm]", "[]")) == (
        RefusalCode.PROJECT_IN_USE,
        f"project haneul-llm cannot be removed {WAIT}",
    )
    moved = (("[haneul-llm]", "[]"), ("[climate]", "[climate, haneul-llm]"))
    assert refusal(*moved)[1] == f"project haneul-llm cannot move to oslo-lab {WAIT}"
    assert refusal(NO_HANEUL_SHARE)[1] == f"project haneul-llm cannot be left without a share {WAIT}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: sj,", "name: sk,", "node group sj cannot be removed"),
        (
            "count: 8",
            "count: 7, cpus: 64, gpus: H100:16, memory: 1024GB}]\n#",
            "node group sj cannot change its site or",
        ),
        ("cpus: 64", "cpus: 63", "node group sj cannot change its site or its GPUs, CPUs and memory per node"),
    ],
)
def test_nodes_with_jobs_stay_as_they_are(old: str, new: str, message: str) -> None:
    code, told = refusal((old, new))
    assert code is RefusalCode.NODE_GROUP_IN_USE
    assert told.startswith(message)
    assert refuse_nation_change(nation_from_yaml(NATION), changed((old, new)), [card(JobState.QUEUED)]) is None


SMALLER_SHARES = (
    ("H100: 48", "H100: 8"),
    ("lend: {H100: 32}", "lend: {H100: 8}"),
    ("{H100: 32}, lend: {H100: 8}", "{}"),
    ("guarantee: {H100: 16}", "guarantee: {H100: 8}"),
)


def test_a_group_shrinks_only_by_idle_nodes() -> None:
    four, three = (*SMALLER_SHARES, ("count: 8", "count: 4")), (*SMALLER_SHARES, ("count: 8", "count: 3"))
    assert refuse_nation_change(nation_from_yaml(NATION), changed(*four), [card()]) is None
    assert refusal(*three)[1] == f"node group sj cannot shrink to 3 nodes: sj-0003 is in use {WAIT}"


def test_a_class_a_site_and_a_dataset_stay_while_a_waiting_job_needs_them(nation: Nation) -> None:
    jobs = [card(JobState.QUEUED)]
    without_data = changed(("name: texts", "name: words"))
    answer = refuse_nation_change(nation, without_data, jobs)
    assert answer is not None
    assert (answer.code, answer.field) == (RefusalCode.DATASET_IN_USE, "datasets")
    pyeongtaek = nation_from_yaml(NATION).sites[1]
    without_site = Nation(
        gpu_classes=nation.gpu_classes, organisations=nation.organisations, shares=nation.shares, sites=(pyeongtaek,)
    )
    answer = refuse_nation_change(nation, without_site, jobs)
    assert answer is not None
    assert (answer.code, answer.message) == (RefusalCode.SITE_IN_USE, f"site sejong cannot be removed {WAIT}")
    without_class = Nation(organisations=nation.organisations, shares=nation.shares, sites=nation.sites)
    answer = refuse_nation_change(nation, without_class, jobs)
    assert answer is not None
    assert (answer.code, answer.message) == (RefusalCode.GPU_CLASS_IN_USE, f"GPU class H100 cannot be removed {WAIT}")


def test_final_jobs_stand_in_no_way(nation: Nation) -> None:
    done = [card(state) for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)]
    assert refuse_nation_change(nation, Nation(), done) is None


def test_a_change_that_touches_no_job_is_let_through(nation: Nation) -> None:
    assert refuse_nation_change(nation, changed(("weight: 2", "weight: 5")), [card()]) is None


def test_a_refusal_names_three_jobs_and_counts_the_rest(nation: Nation) -> None:
    jobs = [card(job=f"j{n}") for n in range(5)]
    answer = refuse_nation_change(nation, Nation(), jobs)
    assert answer is not None
    assert "in use by j0, j1, j2 and 2 more; cancel them" in answer.message
    assert len(GUARDS) == 6


def agreement(*operations: Operation, datasets: tuple[str, ...] = ("fab-yield",), site: str = "sejong") -> Agreement:
    terms = Terms(
        provider="samsung",
        recipient="government",
        datasets=datasets,
        purposes=(Purpose.RESEARCH,),
        operations=operations,
        sites=(site,),
        from_ms=0,
        until_ms=1,
    )
    return Agreement(id="a1", terms=terms, state=AgreementState.AGREED, offered_by="samsung")


@pytest.mark.parametrize(
    ("agreements", "is_allowed"),
    [
        ([], False),
        ([agreement(Operation.COPY)], True),
        ([agreement(Operation.COMPUTE)], False),
        ([agreement(Operation.COPY, datasets=("texts",))], False),
        ([agreement(Operation.COPY, site="pyeongtaek")], False),
    ],
)
def test_data_is_copied_only_where_an_agreement_says_so(agreements: list[Agreement], is_allowed: bool) -> None:
    wider = changed(("sites: [pyeongtaek]", "sites: [pyeongtaek, sejong]"))
    refusal = refuse_new_copies(nation_from_yaml(NATION), wider, agreements)
    assert (refusal is None) == is_allowed
    if refusal is not None:
        assert refusal.code is RefusalCode.COPY_NOT_AGREED


def test_an_owner_copies_its_data_among_its_own_sites_and_new_data_is_where_it_is() -> None:
    own = changed(("sites: [sejong],", "sites: [sejong, pyeongtaek],"))
    to_samsung = refuse_new_copies(nation_from_yaml(NATION), own, [])
    assert to_samsung is not None
    text = NATION.replace("owner: samsung\n    nodes", "owner: government\n    nodes")
    before, after = (
        nation_from_yaml(text),
        nation_from_yaml(text.replace("sites: [sejong],", "sites: [sejong, pyeongtaek],")),
    )
    assert refuse_new_copies(before, after, []) is None
    assert refuse_new_copies(Nation(), own, []) is None


def test_a_new_owner_in_the_same_file_gets_no_copy_of_what_was_anothers() -> None:
    taken = changed(
        ("owner: samsung\n    classes", "owner: government\n    classes"),
        ("sites: [pyeongtaek]", "sites: [pyeongtaek, sejong]"),
    )
    assert refuse_new_copies(nation_from_yaml(NATION), taken, []) is not None
