"""A GPU that several jobs share is shown with each of them, in report and drawing."""

from __future__ import annotations

from dure.portal.drawing import Owners, node_uses, part_segments, part_words
from dure.reports.fleet import NodeCells, sites_report
from tests.kernel.nations import job, nation, share
from tests.kernel.story import Story

DECLARED = nation([share("hanbit", guarantee=4), share("saessak")], nodes=1, gpus=4)


def shared_node() -> NodeCells:
    story = Story(DECLARED)
    story.submit(
        job("half", "hanbit", profile="3g.40gb"),
        job("small", "saessak", profile="1g.10gb"),
        job("part", "hanbit", 0.3),
        job("more", "saessak", 0.5),
        job("whole", "hanbit", 1),
    )
    return sites_report(story.world, 0).sites[0].nodes[0]


def test_a_shared_gpu_names_every_job_with_its_part() -> None:
    cut, shared, whole, free = shared_node().cells
    assert [(part.job, part.profile, part.slices) for part in cut.parts] == [
        ("small", "1g.10gb", (0,)),
        ("half", "3g.40gb", (4, 5, 6, 7)),
    ]
    assert [(part.job, part.milli, part.slices) for part in shared.parts] == [("part", 300, ()), ("more", 500, ())]
    assert (whole.parts, whole.jobs, free.parts) == ((), ("whole",), ())
    assert [cell.used_milli for cell in (cut, shared, whole, free)] == [625, 800, 1000, 0]


def test_slices_are_drawn_where_they_lie_and_parts_one_after_the_other() -> None:
    cut, shared, *_ = shared_node().cells
    owners = Owners(DECLARED, "en")
    assert [(each.start, each.length) for each in part_segments(cut, owners)] == [(0.0, 12.5), (50.0, 50.0)]
    assert [(each.start, each.length) for each in part_segments(shared, owners)] == [(0.0, 30.0), (30.0, 50.0)]
    assert [each.kind for each in part_segments(shared, owners)] == ["owner-0 running", "owner-1 running borrowing"]
    assert part_words(cut, owners) == "saessak small 1g.10gb, hanbit half 3g.40gb"


def test_a_node_lists_every_job_that_shares_a_gpu() -> None:
    uses = [(each.job, each.gpus) for each in node_uses(shared_node())]
    assert uses == [("small", "1g.10gb"), ("half", "3g.40gb"), ("part", "0.3"), ("more", "0.5"), ("whole", "1")]
