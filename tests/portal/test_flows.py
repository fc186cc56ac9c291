"""The picture of what was lent: every pair has its ribbon, as thick as its part, and nothing is drawn outside."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dure.portal.flows import LEFT, MOST_DRAWN, RIGHT, THICK, lending_flows
from dure.reports.lending import LendingLine

NAMES = st.sampled_from(["", "owner", "lab", "startup", "school"])


def lent(lender: str, borrower: str, hours: float, gpu_class: str = "H100") -> LendingLine:
    return LendingLine(
        lender=lender,
        borrower=borrower,
        parent="",
        gpu_class=gpu_class,
        lent_gpu_hours=hours,
        reference_gpu_hours=hours,
        reclaims=0,
        got_back_gpu_hours=0.0,
        mean_reclaim_ms=None,
        longest_reclaim_ms=None,
        late_reclaims=0,
    )


def test_a_picture_per_class_in_which_something_was_lent() -> None:
    lines = [lent("owner", "startup", 3), lent("lab", "startup", 1), lent("lab", "school", 2, "B200")]
    h100, b200 = lending_flows([*lines, lent("owner", "school", 0, "A100")])
    assert [post.share for post in h100.lenders] == ["owner", "lab"]
    assert [(post.share, post.gpu_hours, post.height) for post in h100.borrowers] == [("startup", 4, THICK)]
    assert b200.gpu_class == "B200"


def test_of_very_many_pairs_the_largest_are_drawn() -> None:
    (flows,) = lending_flows([lent("owner", f"startup-{number}", number + 1) for number in range(40)])
    assert (len(flows.ribbons), flows.hidden) == (MOST_DRAWN, 40 - MOST_DRAWN)
    assert min(ribbon.line.lent_gpu_hours for ribbon in flows.ribbons) == 40 - MOST_DRAWN + 1


@given(
    st.lists(st.tuples(NAMES, NAMES, st.floats(0.01, 1e9)), min_size=1, max_size=20, unique_by=lambda each: each[:2])
)
def test_everything_is_drawn_inside_the_picture(pairs: list[tuple[str, str, float]]) -> None:
    (flows,) = lending_flows([lent(*pair) for pair in pairs])
    for posts in (flows.lenders, flows.borrowers):
        assert all(post.top + post.height <= flows.height for post in posts)
        assert all(one.top + one.height < other.top for one, other in pairwise(posts))
    for ribbon in flows.ribbons:
        numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", ribbon.path)]
        assert numbers[0] == LEFT
        assert f"{RIGHT} " in ribbon.path
        assert max(numbers) <= max(RIGHT, flows.height + 0.1)
