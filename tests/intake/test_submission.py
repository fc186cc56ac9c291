"""What is accepted, what is refused, and with which code."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dure.intake.jobfile import job_from_document
from dure.intake.nation_index import NationIndex
from dure.intake.refusals import Refusal, RefusalCode
from dure.intake.submission import CHOICE_RULES, JUDGED_FIELDS, RULES, UNJUDGED_FIELDS, accept_job, likeness
from dure.model.events import JobSubmitted, decode, encode
from dure.model.jobs import ArrayRange, GpuRequest, JobSpec, JobState, Replicas
from dure.model.nation import Nation
from dure.policy import PolicyInForce
from dure.world.cards import JobCard

OWNER = {
    "public-ai": "government",
    "fab-vision": "samsung",
    "haneul-llm": "haneul",
    "climate": "oslo-lab",
    "first-try": "newcomer",
}


def card(job: str, project: str) -> JobCard:
    """A job of a project; of haneul's when none is named. `j1[10]` is an array of ten, `j1[*]` a service."""
    job, _, tasks = job.removesuffix("]").partition("[")
    submitted = JobSubmitted(
        at_ms=0,
        job=job,
        project=project or "haneul-llm",
        by="p",
        commitment="",
        gpus=(),
        nodes=1,
        cpus=1,
        memory_mib=0,
        time_ms=1,
        within="site",
        priority=0,
        preemptible=True,
        checkpoint_every_ms=0,
        retry_limit=0,
        retry_backoff_ms=0,
        depends=(),
        data=(),
        purpose="research",
        sites=("sejong",),
        array=ArrayRange(first=0, last=int(tasks) - 1) if tasks.isdecimal() else None,
        replicas=Replicas(steps=((0, 1),)) if tasks == "*" else None,
    )
    return JobCard(job=job, submitted=submitted, row=0, state=JobState.RUNNING)


def _split(known_jobs: Iterable[str]) -> Iterable[tuple[str, str, str]]:
    """`j1` or `j1@project`."""
    return (each.partition("@") for each in known_jobs)


class Counter:
    """Takes submissions for one nation."""

    def __init__(self, index: NationIndex, policy: PolicyInForce) -> None:
        self.index = index
        self.policy = policy

    def submit(
        self, known_jobs: Iterable[str] = (), organisation: str | None = None, **fields: object
    ) -> JobSubmitted | Refusal:
        document = {"name": "train", "project": "haneul-llm", "command": "true", **fields}
        return self.submit_spec(job_from_document(document), known_jobs, organisation)

    def submit_spec(
        self, spec: JobSpec, known_jobs: Iterable[str] = (), organisation: str | None = None
    ) -> JobSubmitted | Refusal:
        return accept_job(
            spec,
            nation=self.index,
            policy=self.policy,
            by="person-1",
            principal_organisation=OWNER.get(spec.project, "haneul") if organisation is None else organisation,
            known_jobs={each.job: each for each in (card(job, project) for job, _, project in _split(known_jobs))},
            job_id="j20",
            at_ms=1_000,
            commitment="c0ffee",
        )

    def accepted(self, **fields: object) -> JobSubmitted:
        answer = self.submit(**fields)  # type: ignore[arg-type]
        assert not isinstance(answer, Refusal), answer.message
        return answer

    def refused(self, **fields: object) -> Refusal:
        answer = self.submit(**fields)  # type: ignore[arg-type]
        assert isinstance(answer, Refusal)
        return answer


@pytest.fixture(scope="session")
def counter(index: NationIndex, policy: PolicyInForce) -> Counter:
    return Counter(index, policy)


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        (
            {"not_before": "1970-01-01T00:00:00.999Z"},
            RefusalCode.TIME_IN_THE_PAST,
            "is past; it is 1970-01-01T00:00:01Z",
        ),
        ({"not_after": "1970-01-01T00:00:00.999Z"}, RefusalCode.TIME_IN_THE_PAST, "1970-01-01T00:00:00.999Z is past"),
        ({"deadline": "1970-01-01T00:00:00.999Z"}, RefusalCode.TIME_IN_THE_PAST, "1970-01-01T00:00:00.999Z is past"),
        ({"deadline": "1970-01-01T00:59:00Z"}, RefusalCode.DEADLINE_TOO_EARLY, "only 58m59s are left"),
    ],
)
def test_dates_that_cannot_be_kept_are_refused(
    counter: Counter, fields: dict[str, str], code: RefusalCode, says: str
) -> None:
    answer = counter.refused(**fields)
    assert (answer.code, answer.field) == (code, next(iter(fields)))
    assert says in answer.message


def test_dates_go_into_the_ledger(counter: Counter) -> None:
    dates = {
        "not_before": "1970-01-01T00:00:01Z",
        "not_after": "1970-01-01T09:00:02+09:00",
        "deadline": "1970-01-01T01:00:02Z",
    }
    event = counter.accepted(time="1h", **dates)
    assert (event.not_before_ms, event.not_after_ms, event.deadline_ms) == (1_000, 2_000, 3_602_000)


def test_an_accepted_job_is_one_event_with_all_it_asked_for(counter: Counter) -> None:
    event = counter.accepted(
        nodes=2,
        gpus=["b200:4", "h100:4"],
        cpus=16,
        memory="64GB",
        time="4h",
        priority=7,
        checkpoint={"every": "30m", "signal": "USR1"},
        retry={"limit": 3, "backoff": "10s"},
        depends=["j1"],
        known_jobs={"j1"},
        purpose="statistics",
    )
    assert event == JobSubmitted(
        at_ms=1_000,
        job="j20",
        project="haneul-llm",
        by="person-1",
        commitment="c0ffee",
        gpus=(("H100", 4000),),
        nodes=2,
        cpus=16,
        memory_mib=65_536,
        time_ms=4 * 3_600_000,
        within="site",
        priority=7,
        preemptible=True,
        checkpoint_every_ms=1_800_000,
        saves_when_warned=True,
        retry_limit=3,
        retry_backoff_ms=10_000,
        depends=("j1",),
        data=(),
        purpose="statistics",
        sites=("sejong", "pyeongtaek"),
    )
    assert decode(encode(event)) == event


def test_a_choice_that_can_never_be_had_is_dropped_and_the_rest_stay_in_order(counter: Counter) -> None:
    """Samsung lends none of its B200s, so only H100s are left; haneul's own H100s would be enough in any case."""
    assert counter.accepted(gpus=["B200:4", "H100:4"]).gpus == (("H100", 4000),)
    assert counter.accepted(project="fab-vision", gpus=["B200:4", "H100:4"]).gpus == (("B200", 4000), ("H100", 4000))


def test_any_class_becomes_every_class_that_can_hold_it(counter: Counter) -> None:
    assert counter.accepted(project="fab-vision", gpus=4).gpus == (("H100", 4000), ("B200", 4000))
    assert counter.accepted(project="fab-vision", gpus=8).gpus == (("H100", 8000),)
    assert counter.accepted(project="fab-vision", gpus=["B200:4", 4]).gpus == (("B200", 4000), ("H100", 4000))


def test_a_job_without_gpus_needs_only_a_node(counter: Counter) -> None:
    assert counter.accepted(cpus=256).gpus == ()
    assert counter.refused(cpus=257).code is RefusalCode.NO_NODE_LARGE_ENOUGH


def test_an_array_of_any_size_becomes_one_event(counter: Counter) -> None:
    assert counter.accepted(array="3-5", gpus=1).array == ArrayRange(first=3, last=5)
    assert counter.accepted(array=100_000, gpus=1).array == ArrayRange(first=0, last=99_999)


def test_an_array_its_tasks_and_those_that_have_not_begun_may_be_depended_on(counter: Counter) -> None:
    event = counter.accepted(depends=["j7", "j7_2", "j7_9", "j8"], known_jobs={"j8", "j7[10]", "j7_2"})
    assert event.depends == ("j7", "j7_2", "j7_9", "j8")
    assert counter.refused(depends="j7_10", known_jobs={"j7[10]"}).code is RefusalCode.UNKNOWN_DEPENDENCY


def test_nobody_waits_for_a_service(counter: Counter) -> None:
    assert counter.refused(depends="j7", known_jobs={"j7[*]"}).code is RefusalCode.DEPENDENCY_NEVER_ENDS


def test_all_replicas_of_a_service_must_be_possible_at_once(counter: Counter) -> None:
    profile = {"profile": {"00:00": 0, "08:00": 3}, "timezone": "+09:00"}
    assert counter.accepted(gpus="H100:1", replicas=profile).replicas == Replicas(
        steps=((54_000_000, 0), (82_800_000, 3))
    )
    assert counter.refused(gpus="H100:1", replicas=9_000).code is RefusalCode.ABOVE_WHAT_IS_LENT


def test_nobody_can_wait_for_another_organisations_job(counter: Counter) -> None:
    """Starting when it succeeds would tell how it went."""
    assert counter.refused(depends="j1", known_jobs=["j1@climate"]).code is RefusalCode.UNKNOWN_DEPENDENCY
    assert counter.refused(depends="j1", known_jobs=["j1_0@climate"]).code is RefusalCode.UNKNOWN_DEPENDENCY


def test_data_narrows_the_sites(counter: Counter) -> None:
    assert counter.accepted(data="fab-yield").sites == ("pyeongtaek",)
    assert counter.accepted(project="climate", data="texts").sites == ("sejong",)


def case(code: RefusalCode, field: str, message: str, **fields: object) -> object:
    return pytest.param(code, field, message, fields, id=f"{code.value}-{len(message)}")


@pytest.mark.parametrize(
    ("code", "field", "message", "fields"),
    [
        case(
            RefusalCode.UNKNOWN_PROJECT,
            "project",
            "there is no project 'haneul-lm'; did you mean haneul-llm?",
            project="haneul-lm",
        ),
        case(
            RefusalCode.UNKNOWN_PROJECT,
            "project",
            "there is no project 'fab-visio'; ask the operator to add it",
            project="fab-visio",
        ),
        case(
            RefusalCode.NOT_YOUR_PROJECT,
            "project",
            "project 'fab-vision' does not belong to haneul; use a project that does",
            project="fab-vision",
            organisation="haneul",
        ),
        case(
            RefusalCode.NOT_YOUR_PROJECT,
            "project",
            "project 'fab-vision' does not belong to you; use a project that does",
            project="fab-vision",
            organisation="",
        ),
        case(
            RefusalCode.PROJECT_HAS_NO_SHARE,
            "project",
            "neither project 'first-try' nor its organisation has a share; ask the operator for one",
            project="first-try",
        ),
        case(
            RefusalCode.UNKNOWN_GPU_CLASS,
            "gpus",
            "there is no GPU class 'H10'; did you mean H100?",
            gpus=["B200", "H10"],
        ),
        case(RefusalCode.UNKNOWN_GPU_CLASS, "gpus", "there is no GPU class 'TPU'; known: H100, B200", gpus="TPU:8"),
        case(
            RefusalCode.UNKNOWN_DEPENDENCY,
            "depends",
            "your organisation has no job 'j9', or it ended long ago; remove it from depends",
            depends=["j1", "j9"],
            known_jobs=["j1", "j90"],
        ),
        case(
            RefusalCode.UNKNOWN_DATASET,
            "data",
            "there is no dataset 'fab-yeild'; did you mean fab-yield?",
            data="fab-yeild",
        ),
        case(
            RefusalCode.UNKNOWN_DATASET,
            "data",
            "there is no dataset 'fab-yeild'; ask its owner to declare it",
            project="climate",
            data="fab-yeild",
        ),
        case(
            RefusalCode.FORBIDDEN_BY_POLICY,
            "data",
            "no site may run this job (purpose-limitation): Data may be used only for the purposes it is held for. "
            "What would help: it would be allowed for the purpose research",
            data="fab-yield",
            purpose="commercial",
        ),
        case(
            RefusalCode.NO_NODE_LARGE_ENOUGH,
            "gpus",
            "no node is large enough for H100:9; the largest has H100:8, 64 CPUs, 1,048,576 MiB: ask for less per "
            "node, or more nodes",
            gpus="H100:9",
        ),
        case(
            RefusalCode.NO_NODE_LARGE_ENOUGH,
            "cpus",
            "no node is large enough for H100:1, 65 CPUs; the largest has H100:8, 64 CPUs, 1,048,576 MiB: ask for less "
            "per node, or more nodes",
            gpus="H100",
            cpus=65,
        ),
        case(
            RefusalCode.NO_NODE_LARGE_ENOUGH,
            "memory",
            "no node is large enough for H100:1, 2,097,152 MiB; the largest has H100:8, 64 CPUs, 1,048,576 MiB: ask "
            "for less per node, or more nodes",
            gpus="H100",
            memory="2TB",
        ),
        case(
            RefusalCode.NOT_ENOUGH_NODES,
            "nodes",
            "9 nodes with H100:8 are more than any site has; sejong has the most, 8",
            gpus="H100:8",
            nodes=9,
        ),
        case(
            RefusalCode.ABOVE_SHARE_LIMIT,
            "gpus",
            "H100:16 can never run: share oslo-lab is limited to H100:8; ask for less",
            project="climate",
            gpus="H100:8",
            nodes=2,
        ),
        case(
            RefusalCode.NEEDS_PREEMPTIBLE,
            "preemptible",
            "H100:64 would have to be borrowed: share haneul is guaranteed H100:48, and what is borrowed can be taken "
            "back; allow it with preemptible: true, or ask for less",
            gpus="H100:8",
            nodes=8,
            preemptible=False,
        ),
        case(
            RefusalCode.ABOVE_WHAT_IS_LENT,
            "gpus",
            "H100:48 can never run: share haneul can have at most H100:40, because the rest is never lent; ask for "
            "less",
            gpus="H100:8",
            nodes=6,
        ),
        case(
            RefusalCode.NO_SITE_ALLOWED_AND_CAPABLE,
            "data",
            "policy lets this job run at sejong (elsewhere: data-stays-at-its-sites), but no site there has 1 node "
            "with B200:4",
            project="fab-vision",
            data="texts",
            gpus="B200:4",
        ),
    ],
)
def test_a_job_is_refused_with_a_code_its_field_and_what_to_do(
    counter: Counter, code: RefusalCode, field: str, message: str, fields: dict[str, object]
) -> None:
    refusal = counter.refused(**fields)
    assert (refusal.code, refusal.field, refusal.message) == (code, field, message)


def test_the_field_to_blame_is_the_one_of_which_there_is_too_little(counter: Counter, index: NationIndex) -> None:
    assert counter.refused(gpus="H100:8", cpus=65).field == "cpus"
    assert counter.refused(gpus="H100:8", cpus=64, memory="2TB").field == "memory"
    largest = index.largest_node("")
    assert largest is not None
    assert largest.name == "sj"


def test_a_refusal_by_policy_carries_the_rules_and_is_forbidden(counter: Counter) -> None:
    refusal = counter.refused(project="climate", data="fab-yield")
    assert refusal.rules == ("foreign-reader", "national-core-technology", "reader-must-be-named")
    assert [reason.rule for reason in refusal.reasons] == list(refusal.rules)
    assert all(reason.title_ko and reason.remedy_ko and reason.remedy_en for reason in refusal.reasons)
    assert refusal.remedy is not None
    assert "on an agreement with samsung about fab-yield" in refusal.remedy.en
    assert refusal.message.endswith(refusal.remedy.en)
    assert refusal.is_forbidden
    assert not counter.refused(gpus="TPU").is_forbidden


def test_a_job_that_may_not_be_preempted_fits_in_a_guarantee_above_its_share(counter: Counter) -> None:
    assert counter.accepted(gpus="H100:8", nodes=5, preemptible=False).preemptible is False


def test_every_code_about_jobs_is_given_by_some_rule() -> None:
    assert len({*RULES, *CHOICE_RULES}) == 16


SPECS = st.builds(
    JobSpec,
    name=st.just("x"),
    project=st.sampled_from([*OWNER, "nobody"]),
    command=st.just(("true",)),
    nodes=st.integers(1, 10),
    gpus=st.lists(
        st.builds(
            GpuRequest,
            gpu_class=st.sampled_from(["", "H100", "b200", "X"]),
            milli=st.sampled_from([500, 1000, 4000, 8000, 9000]),
        ),
        max_size=3,
    ).map(tuple),
    cpus=st.integers(0, 300),
    preemptible=st.booleans(),
    data=st.lists(st.sampled_from(["texts", "fab-yield", "x"]), max_size=2, unique=True).map(tuple),
)


def test_what_is_accepted_could_run_on_an_idle_fleet(counter: Counter, nation: Nation) -> None:
    """Judged again by hand: some permitted site has enough nodes of the first choice that fits, within the limit."""

    @given(SPECS)
    def holds(spec: JobSpec) -> None:
        answer = counter.submit_spec(spec)
        if isinstance(answer, Refusal):
            assert answer.message
            return
        event = answer
        choices = event.gpus or (("", 0),)
        assert any(_has_room(nation, event, gpu_class, milli) for gpu_class, milli in choices)
        share = nation.share_of(event.project)
        assert share is not None
        assert all(
            event.nodes * milli <= nation.amount(share, gpu_class).limit_milli for gpu_class, milli in event.gpus
        )

    holds()


def _has_room(nation: Nation, event: JobSubmitted, gpu_class: str, milli: int) -> bool:
    return any(
        sum(
            group.count
            for group in site.nodes
            if gpu_class in ("", group.gpu_class) and group.gpus * 1000 >= milli and group.cpus >= event.cpus
        )
        >= event.nodes
        for site in nation.sites
        if site.name in event.sites
    )


def test_the_index_agrees_with_the_nation_on_shares(index: NationIndex, nation: Nation) -> None:
    for project in [*OWNER, "nobody"]:
        assert index.share_of(project) == nation.share_of(project)
        assert index.organisation_of(project) == nation.organisation_of(project)


def test_an_elastic_job_is_held_to_its_least(counter: Counter) -> None:
    wants = {"gpus": "H100:8", "checkpoint": "30m"}
    event = counter.accepted(**wants, nodes=9, min_nodes=2)
    assert (event.min_nodes, event.nodes) == (2, 9)
    assert counter.accepted(project="climate", **wants, nodes=2, min_nodes=1).min_nodes == 1
    refusal = counter.refused(**wants, nodes=20, min_nodes=9)
    assert (refusal.code, refusal.field) == (RefusalCode.NOT_ENOUGH_NODES, "nodes")


def test_a_job_of_fixed_size_leaves_the_ledgers_bytes_as_they_were(counter: Counter) -> None:
    assert b"min_nodes" not in encode(counter.accepted(nodes=2, min_nodes=2))


def test_jobs_that_differ_only_in_what_they_run_are_alike() -> None:
    one = JobSpec(name="a", project="haneul-llm", command=("true",))
    other = JobSpec(name="b", project="haneul-llm", script="echo", env={"A": "1"}, secrets=("token",))
    assert likeness(one, "haneul") == likeness(other, "haneul")
    assert likeness(one, "haneul") != likeness(one, "samsung")
    assert set(JobSpec.__struct_fields__) == {*JUDGED_FIELDS, *UNJUDGED_FIELDS}


@pytest.mark.parametrize(
    "fields", [{"depends": ("j1",)}, {"not_before_ms": 1}, {"not_after_ms": 1}, {"deadline_ms": 1}]
)
def test_a_job_that_is_judged_by_others_or_by_the_time_is_like_none(fields: dict[str, object]) -> None:
    assert likeness(JobSpec(name="a", project="haneul-llm", **fields), "haneul") is None  # type: ignore[arg-type]
