"""The picture of what was lent: lenders on the left, borrowers on the right, and a ribbon for each pair.

One picture per GPU class. All ribbons of a picture are to one scale: the thicker, the more GPU-hours. Positions become
attributes of SVG elements; the content security policy allows no style attributes.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from dure.reports.lending import LendingLine

MOST_DRAWN = 12
"""Pairs in one picture, the largest."""
LEFT, RIGHT = 190, 530
THICK = 150
"""Height of all ribbons together, and the least of one bar, in the picture's units."""
THINNEST = 3
GAP = 16
ABOVE = 8


class Post(Struct, frozen=True):
    """A lender's or borrower's bar, from `top` for `height`."""

    share: str
    top: float
    height: float
    gpu_hours: float


class Ribbon(Struct, frozen=True):
    """What went from a lender to a borrower: a closed SVG path."""

    line: LendingLine
    path: str


class Flows(Struct, frozen=True):
    """One picture. `hidden` pairs were too small to be drawn."""

    gpu_class: str
    height: float
    lenders: tuple[Post, ...]
    borrowers: tuple[Post, ...]
    ribbons: tuple[Ribbon, ...]
    hidden: int


def lending_flows(lines: Iterable[LendingLine]) -> list[Flows]:
    """A picture per class in which something was lent, classes in the order of the lines."""
    classes: dict[str, list[LendingLine]] = {}
    for line in lines:
        if line.lent_gpu_hours > 0:
            classes.setdefault(line.gpu_class, []).append(line)
    return [_flows(gpu_class, of_class) for gpu_class, of_class in classes.items()]


def _flows(gpu_class: str, lines: list[LendingLine]) -> Flows:
    largest = sorted(lines, key=lambda line: -line.lent_gpu_hours)[:MOST_DRAWN]
    drawn = [line for line in lines if line in largest]
    thickness = {id(line): _thickness(line, drawn) for line in drawn}
    lenders = _posts([(line.lender, line, thickness[id(line)]) for line in drawn])
    borrowers = _posts([(line.borrower, line, thickness[id(line)]) for line in drawn])
    return Flows(
        gpu_class=gpu_class,
        height=max(posts[-1].top + posts[-1].height for posts in (lenders, borrowers)) + ABOVE,
        lenders=lenders,
        borrowers=borrowers,
        ribbons=_ribbons(drawn, thickness, lenders, borrowers),
        hidden=len(lines) - len(drawn),
    )


def _thickness(line: LendingLine, drawn: list[LendingLine]) -> float:
    total = sum(each.lent_gpu_hours for each in drawn)
    return round(max(THINNEST, THICK * line.lent_gpu_hours / total), 2)


def _posts(ends: list[tuple[str, LendingLine, float]]) -> tuple[Post, ...]:
    heights: dict[str, float] = {}
    hours: dict[str, float] = {}
    for share, line, thick in ends:
        heights[share] = heights.get(share, 0.0) + thick
        hours[share] = hours.get(share, 0.0) + line.lent_gpu_hours
    posts = []
    top = float(ABOVE)
    for share, height in heights.items():
        posts.append(Post(share, round(top, 2), round(height, 2), hours[share]))
        top += height + GAP
    return tuple(posts)


def _ribbons(
    drawn: list[LendingLine], thickness: dict[int, float], lenders: tuple[Post, ...], borrowers: tuple[Post, ...]
) -> tuple[Ribbon, ...]:
    left = {post.share: post.top for post in lenders}
    right = {post.share: post.top for post in borrowers}
    ribbons = []
    for line in drawn:
        thick = thickness[id(line)]
        ribbons.append(Ribbon(line, _path(left[line.lender], right[line.borrower], thick)))
        left[line.lender] += thick
        right[line.borrower] += thick
    return tuple(ribbons)


def _path(start: float, end: float, thick: float) -> str:
    """Two curves that leave and arrive level, and the straight ends between them."""
    middle = (LEFT + RIGHT) / 2
    over = f"M{LEFT} {start:.2f} C{middle:g} {start:.2f} {middle:g} {end:.2f} {RIGHT} {end:.2f}"
    start, end = start + thick, end + thick
    return f"{over} V{end:.2f} C{middle:g} {end:.2f} {middle:g} {start:.2f} {LEFT} {start:.2f}Z"
