"""Who may know of which data and agreements, and how the use of an agreement is counted."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from dure.intake.nationfile import nation_from_yaml
from dure.model.agreements import Agreement, AgreementState, Operation, Terms
from dure.model.datasets import Purpose
from dure.reports.agreements import Standing, agreement_line, agreement_report, agreements_report
from dure.reports.datasets import datasets_report, known_datasets, visible_nation
from dure.reports.usage import Attempt
from dure.reports.viewer import EVERYTHING, PUBLIC, Viewer

HOUR_MS = 3_600_000
NATION = nation_from_yaml("""
sites: [{name: pyeongtaek, country: KR, owner: fab}]
organisations:
  - {name: fab, kind: enterprise, country: KR, projects: [vision]}
  - {name: haneul, kind: startup, country: KR, projects: [llm]}
  - {name: oslo-lab, kind: partner, country: "NO"}
datasets:
  - {name: yields, owner: fab, classes: [national-core-technology], jurisdiction: KR, purposes: [research],
     sites: [pyeongtaek]}
  - {name: lots, owner: fab, classes: [personal], jurisdiction: KR, purposes: [research], sites: [pyeongtaek],
     readers: [haneul]}
  - {name: maps, owner: fab, classes: [public], jurisdiction: KR, purposes: [research], sites: [pyeongtaek],
     readers: ["*"]}
""")
AGREEMENT = Agreement(
    id="a1",
    terms=Terms(
        provider="fab",
        recipient="oslo-lab",
        datasets=("yields",),
        purposes=(Purpose.RESEARCH,),
        operations=(Operation.COMPUTE,),
        sites=("pyeongtaek",),
        from_ms=1_000,
        until_ms=2_000,
    ),
    state=AgreementState.AGREED,
    offered_by="fab",
)


@pytest.mark.parametrize(
    ("viewer", "known"),
    [
        (EVERYTHING, ["yields", "lots", "maps"]),
        (Viewer(organisation="fab"), ["yields", "lots", "maps"]),
        (Viewer(project="vision"), ["yields", "lots", "maps"]),
        (Viewer(organisation="haneul"), ["lots", "maps"]),
        (Viewer(project="llm"), ["lots", "maps"]),
        (Viewer(organisation="oslo-lab"), ["yields", "maps"]),
        (Viewer(project="no-such"), []),
        (PUBLIC, []),
    ],
)
def test_data_is_known_to_its_owner_readers_and_those_it_was_offered_to(viewer: Viewer, known: list[str]) -> None:
    assert [each.name for each in known_datasets(NATION, [AGREEMENT], viewer)] == known
    assert [each.name for each in visible_nation(NATION, [AGREEMENT], viewer).datasets] == known


@pytest.mark.parametrize("state", [AgreementState.DECLINED, AgreementState.ENDED])
def test_an_offer_that_is_over_tells_no_name_any_more(state: AgreementState) -> None:
    over = replace(AGREEMENT, state=state)
    assert [each.name for each in known_datasets(NATION, [over], Viewer(organisation="oslo-lab"))] == ["maps"]


@pytest.mark.parametrize(
    ("viewer", "sees"),
    [
        (EVERYTHING, True),
        (Viewer(organisation="fab"), True),
        (Viewer(organisation="oslo-lab"), True),
        (Viewer(organisation="haneul"), False),
        (Viewer(project="vision"), False),
        (PUBLIC, False),
    ],
)
def test_an_agreement_is_seen_by_its_parties_and_the_programme(viewer: Viewer, sees: bool) -> None:
    assert bool(agreements_report([AGREEMENT], viewer, 1_500).agreements) is sees


def test_a_dataset_shows_the_agreements_in_force_that_the_viewer_may_see() -> None:
    def agreements_of(name: str, viewer: Viewer, now_ms: int) -> tuple[str, ...]:
        report = datasets_report(NATION, [AGREEMENT], {"yields"}, viewer, now_ms)
        return next(each.agreements for each in report.datasets if each.dataset.name == name)

    assert agreements_of("yields", Viewer(organisation="oslo-lab"), 1_500) == ("a1",)
    assert agreements_of("yields", EVERYTHING, 2_000) == ()
    assert agreements_of("maps", EVERYTHING, 1_500) == ()
    assert [each.restricted for each in datasets_report(NATION, [], {"yields"}, EVERYTHING, 0).datasets] == [
        True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "now_ms", "note"),
    [
        ({"state": AgreementState.OFFERED}, 1, "oslo-lab has to answer version 1"),
        ({"state": AgreementState.NEGOTIATING, "offered_by": "oslo-lab"}, 1, "fab has to answer version 1"),
        ({}, 999, "agreed; begins later"),
        ({}, 1_000, "in force"),
        ({}, 2_000, "expired"),
        ({"needs_approval": True}, 1_000, "agreed; two people of the programme have to approve it"),
        ({"needs_approval": True, "approved": True}, 1_000, "in force"),
        ({"state": AgreementState.ENDED}, 1_000, "ended"),
    ],
)
def test_an_agreement_says_where_it_stands(changes: dict[str, object], now_ms: int, note: str) -> None:
    line = agreement_line(replace(AGREEMENT, **changes), now_ms)
    assert line.note == note
    assert (
        (line.standing is Standing.IN_FORCE)
        == (note == "in force")
        == replace(AGREEMENT, **changes).is_in_force(now_ms)
    )


def attempt(job: str, began_ms: int, ended_ms: int | None, gpus_milli: int = 2_000) -> Attempt:
    return Attempt(
        job=job,
        attempt=1,
        project="p",
        organisation="oslo-lab",
        gpu_class="H100",
        gpus_milli=gpus_milli,
        started_at_ms=began_ms,
        ended_at_ms=ended_ms,
        borrowed=False,
        outcome="",
    )


def test_use_is_the_gpu_time_of_the_jobs_that_ran_on_it() -> None:
    attempts = [
        attempt("j1", 0, HOUR_MS),
        attempt("j2_7", HOUR_MS, None),
        attempt("j3", 0, HOUR_MS),
        attempt("j11", 0, HOUR_MS),
    ]
    use = agreement_report(AGREEMENT, ["j1", "j2"], attempts, now_ms=3 * HOUR_MS).use
    assert (use.jobs, use.running, use.gpu_hours, use.last_ms) == (2, 1, 6.0, HOUR_MS)


def test_an_agreement_that_was_not_used_says_so() -> None:
    use = agreement_report(AGREEMENT, [], [attempt("j1", 0, 1)], now_ms=2).use
    assert (use.jobs, use.running, use.gpu_hours, use.last_ms) == (0, 0, 0.0, None)
