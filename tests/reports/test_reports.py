"""Reports over the real world after real decisions."""

from __future__ import annotations

import msgspec
import pytest

from dure.kernel import explain_all
from dure.model.events import AttemptEnded, CancelRequested, NodeChanged
from dure.model.jobs import JobState, Outcome
from dure.reports.fleet import nodes_report, sites_report
from dure.reports.jobs import (
    JobReport,
    QueueReport,
    TimelineLine,
    finished_report,
    job_report,
    jobs_report,
    queue_report,
)
from dure.reports.ledger import entries_report, key_name, ledger_report
from dure.reports.shares import shares_report
from dure.reports.viewer import EVERYTHING, PUBLIC, Viewer
from dure.world.cards import JobCard, MomentCode
from dure.world.world import World
from tests.reports.small_nation import NOW_MS, explain_in, spec_of, specs_of, submitted, world_after


@pytest.fixture
def busy() -> World:
    """The startup borrows two GPUs above its two, the school waits for eight, half a GPU is used by the owner."""
    return world_after(
        submitted("j1", "startup-work", 4_000),
        submitted("j2", "owner-work", 500),
        submitted("j3", "school-work", 4_000, nodes=2),
    )


def queue_of(world: World, viewer: Viewer) -> QueueReport:
    return queue_report(world, explain_in(world), explain_all(world, NOW_MS), viewer, specs_of, NOW_MS)


def report_of(world: World, job: str, viewer: Viewer = EVERYTHING) -> JobReport:
    return job_report(world, world.jobs[job], explain_in(world), viewer, spec_of, NOW_MS + 5_000)


def test_the_queue_tells_who_runs_and_why_others_wait(busy: World) -> None:
    report = queue_of(busy, EVERYTHING)
    assert [(line.job, line.gpus, line.site) for line in report.running] == [
        ("j1", "H100:4", "seoul"),
        ("j2", "H100:0.5", "seoul"),
    ]
    (waiting,) = report.waiting
    assert (waiting.job, waiting.gpus, waiting.gpus_milli, waiting.position) == ("j3", "2 × H100:4", 8_000, 1)
    assert waiting.reason
    assert waiting.blockers


def test_a_long_queue_is_told_in_part_with_how_many_there_are(busy: World) -> None:
    report = queue_report(busy, explain_in(busy), explain_all(busy, NOW_MS), EVERYTHING, specs_of, NOW_MS, limit=1)
    assert [line.job for line in report.running] == ["j1"]
    assert [line.job for line in report.waiting] == ["j3"]
    assert (report.running_in_all, report.waiting_in_all) == (2, 1)


def test_members_see_their_own_jobs_in_full_and_of_others_only_the_size(busy: World) -> None:
    own, other = queue_of(busy, Viewer(organisation="startup")).running
    assert (own.visible, own.name, own.project) == (True, "name-of-j1", "startup-work")
    shown = {name for name, value in msgspec.to_builtins(other).items() if value not in (None, (), [], False)}
    assert shown == {"job", "share", "state", "gpus", "gpu_class", "gpus_milli", "nodes"}


@pytest.mark.parametrize("viewer", [PUBLIC, Viewer(organisation="owner"), Viewer(organisation="nobody")])
def test_a_job_report_hides_everything_of_other_organisations(busy: World, viewer: Viewer) -> None:
    text = msgspec.json.encode(report_of(busy, "j3", viewer)).decode()
    for private in ("name-of-j3", "school-work", "train.py", "research"):
        assert private not in text


def test_jobs_far_behind_have_their_first_reason_though_nobody_explains_them(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_full = queue_of(busy, EVERYTHING).waiting[0]
    monkeypatch.setattr("dure.reports.jobs.MOST_EXPLAINED", 0)
    briefly = queue_of(busy, EVERYTHING).waiting[0]
    assert briefly.reason == in_full.reason
    assert [each.code for each in briefly.blockers] == [in_full.blockers[0].code]
    hidden = queue_of(busy, Viewer(organisation="owner")).waiting[0]
    assert (hidden.reason, hidden.blockers) == (None, ())


def test_a_waiting_job_has_all_its_reasons(busy: World) -> None:
    report = report_of(busy, "j3")
    assert report.why is not None
    assert report.why.blockers
    assert (report.waited_ms, report.ran_ms) == (5_000, None)


def test_a_running_job_tells_where_and_for_how_long(busy: World) -> None:
    report = report_of(busy, "j1")
    assert [len(placement.gpus) for placement in report.placements] == [4]
    assert (report.line.borrowed, report.ran_ms, report.command) == (True, 5_000, "python train.py")
    assert [moment.state for moment in report.timeline] == [JobState.QUEUED, JobState.STARTING, JobState.RUNNING]


def test_a_timeline_has_a_code_its_parameters_and_an_english_phrase(busy: World) -> None:
    started = report_of(busy, "j1").timeline[1]
    assert started == TimelineLine(
        at_ms=NOW_MS,
        state=JobState.STARTING,
        what=MomentCode.ATTEMPT_STARTED,
        site="seoul",
        attempt=1,
        note="attempt 1 at seoul",
    )


def test_a_card_comes_back_from_its_row_as_it_was(busy: World) -> None:
    busy.apply(AttemptEnded(at_ms=NOW_MS + 1_000, job="j2", attempt=1, outcome=Outcome.FAILED, exit_code=3))
    for card in busy.jobs.values():
        assert msgspec.json.decode(msgspec.json.encode(card), type=JobCard) == card


def test_finished_jobs_come_newest_end_first(busy: World) -> None:
    busy.apply(AttemptEnded(at_ms=NOW_MS + 1_000, job="j2", attempt=1, outcome=Outcome.FAILED, exit_code=3))
    busy.apply(CancelRequested(at_ms=NOW_MS + 2_000, job="j3", by="t1"))
    lines = finished_report(busy, EVERYTHING, specs_of, NOW_MS + 3_000).jobs
    assert [(line.job, line.state, line.exit_code) for line in lines] == [
        ("j3", JobState.CANCELLED, None),
        ("j2", JobState.FAILED, 3),
    ]


def test_a_listing_is_cut_at_its_limit_and_newest_first() -> None:
    world = world_after(*(submitted(f"j{n}", "owner-work", at_ms=NOW_MS + n) for n in range(5)), now_ms=NOW_MS + 5)
    lines = jobs_report(world, world.jobs.values(), EVERYTHING, specs_of, NOW_MS, limit=2).jobs
    assert [line.job for line in lines] == ["j4", "j3"]


def test_shares_add_up(busy: World) -> None:
    report = shares_report(busy, NOW_MS)
    by_name = {line.name: line for line in report.shares}
    (total,) = report.classes
    assert (total.capacity_milli, total.used_milli) == (8_000, 4_500)
    assert sum(line.used_milli for line in report.shares) == 4_500
    assert (by_name["startup"].used_milli, by_name["startup"].borrowed_milli) == (4_000, 2_000)
    assert by_name["owner"].lent_milli == 2_000
    assert by_name["owner"].idle_guarantee_milli == 3_500
    assert (by_name["school"].waiting_jobs, by_name["school"].limit_milli) == (1, None)


def test_sites_show_every_gpu_with_its_owner(busy: World) -> None:
    (site,) = sites_report(busy, NOW_MS).sites
    cells = [cell for node in site.nodes for cell in node.cells]
    assert (site.capacity_milli, site.used_milli, site.unavailable_milli) == (8_000, 4_500, 0)
    assert sum(cell.used_milli for cell in cells) == site.used_milli
    assert sorted((cell.organisation, cell.state, cell.used_milli) for cell in cells if cell.used_milli) == [
        ("owner", "running", 500),
        *[("startup", "running", 1_000)] * 4,
    ]
    assert [(use.organisation, use.used_milli, use.borrowed_milli) for use in site.uses] == [
        ("startup", 4_000, 4_000),
        ("owner", 500, 0),
    ]


def test_a_page_of_a_large_site_has_few_nodes_and_all_totals(busy: World) -> None:
    (site,) = sites_report(busy, NOW_MS, most_nodes=1).sites
    assert (len(site.nodes), site.nodes_total, site.used_milli) == (1, 2, 4_500)


def test_a_drained_node_shows_what_still_runs_there(busy: World) -> None:
    busy.apply(NodeChanged(at_ms=NOW_MS, node="seoul-0000", state="drained", by="t1"))
    (site,) = sites_report(busy, NOW_MS).sites
    drained = next(each for each in site.nodes if each.node.name == "seoul-0000")
    assert drained.node.state == "drained"
    assert {cell.state for cell in drained.cells} <= {"running", "drained"}
    assert site.unavailable_milli == 4_000 - sum(cell.used_milli for cell in drained.cells)


def test_nodes_list_what_is_free(busy: World) -> None:
    nodes = nodes_report(busy, NOW_MS).nodes
    assert sum(node.free_gpus_milli for node in nodes) == 3_500
    assert sorted(job for node in nodes for job in node.jobs) == ["j1", "j2"]


def test_reports_survive_the_wire(busy: World) -> None:
    report = queue_of(busy, EVERYTHING)
    assert msgspec.json.decode(msgspec.json.encode(report), type=QueueReport) == report


def test_an_empty_world_has_empty_reports() -> None:
    world = World()
    assert queue_of(world, EVERYTHING).waiting == ()
    assert shares_report(world, 0).shares == ()
    assert sites_report(world, 0).sites == ()
    assert nodes_report(world, 0).nodes == ()


def test_the_ledger_report_names_the_key_that_signed() -> None:
    note = "dure/ab12\n7\nAAAA\n\n— dure/ab12 c2lnbmF0dXJl\n"
    report = ledger_report(9, 7, b"\x01\xff", NOW_MS, note)
    assert (report.key_name, report.root, report.checkpoint_entries) == ("dure/ab12", "01ff", 7)
    assert key_name("") == key_name("—\n") == ""


def test_entries_are_handed_out_as_the_bytes_that_were_hashed() -> None:
    entries = [b'{"at_ms":1,"event":"x"}', b'{"at_ms":2, "event":"y"}']
    page = entries_report(5, entries, size=8)
    assert ([entry.position for entry in page.entries], page.next) == ([5, 6], 7)
    assert all(entry in msgspec.json.encode(page) for entry in entries)
    assert entries_report(6, entries, size=8).next is None


def test_an_elastic_job_shows_what_it_has_and_what_it_may_have() -> None:
    elastic = {"nodes": 4, "min_nodes": 1}
    world = world_after(
        *(msgspec.structs.replace(submitted(name, "school-work", 4_000), **elastic) for name in ("j1", "j2"))
    )
    running, waiting = (report_of(world, name).line for name in ("j1", "j2"))
    assert (running.gpus, running.gpus_milli, running.nodes) == ("2 × H100:4", 8_000, 2)
    assert (waiting.gpus, waiting.gpus_milli, waiting.nodes) == ("1–4 × H100:4", 4_000, 1)
    assert (running.min_nodes, running.max_nodes) == (waiting.min_nodes, waiting.max_nodes) == (1, 4)
    fixed = report_of(world_after(submitted("j1", "school-work")), "j1").line
    assert (fixed.min_nodes, fixed.max_nodes) == (None, None)
