"""The pages' words in the reader's language: catalogues in `words/`, plus times and amounts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files

from dure.model.blockers import Assumption, Blocker, BlockerCode, Eta, NoEta, Why
from dure.model.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, format_gpus
from dure.reports.jobs import TimelineLine

LANGUAGES = ("en", "ko")
MOST_HOLDERS = 3
_SILENT = frozenset({None, NoEta.NOT_ASKED, NoEta.NOT_WAITING})
_AHEAD = frozenset(
    {
        BlockerCode.HELD_BY_DEPENDENCY,
        BlockerCode.RESERVED_IN_ADVANCE,
        BlockerCode.RESERVED_FOR_HEAD,
        BlockerCode.BEHIND_IN_QUEUE,
    }
)
"""Blockers whose holders are jobs or reservations that go first; the holders of others have GPUs."""
_UNITS = (
    ("time.days", DAY_MS),
    ("time.hours", HOUR_MS),
    ("time.minutes", MINUTE_MS),
    ("time.seconds", SECOND_MS),
)


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Every string of the pages in one language."""
    text = files("dure.portal").joinpath("words", f"{language}.json").read_text("utf-8")
    words: dict[str, str] = json.loads(text)
    return words


class Phrases:
    """Speaks one language. `now_ms` is the time of the page, against which other times are told."""

    def __init__(self, language: str, now_ms: int) -> None:
        self.language = language
        self._now_ms = now_ms
        self._words = catalogue(language)

    def __call__(self, key: str, **values: object) -> str:
        """The string of a key with its values filled in. An unknown key is our bug and raises KeyError."""
        return self._words[key].format(**values)

    def duration(self, milliseconds: int) -> str:
        """A length of time in its largest unit or two, as people say it."""
        left = max(0, milliseconds)
        if left < MINUTE_MS:
            return self("time.seconds", n=left // SECOND_MS)
        if left < HOUR_MS:
            return self("time.minutes", n=left // MINUTE_MS)
        if left < DAY_MS:
            return self.exact_duration(left // MINUTE_MS * MINUTE_MS)
        return self.exact_duration(left // HOUR_MS * HOUR_MS)

    def age(self, at_ms: int) -> str:
        """How long ago something was."""
        return self.duration(self._now_ms - at_ms)

    def exact_duration(self, milliseconds: int) -> str:
        """A length of time down to the second, as somebody asked for it."""
        left = milliseconds
        parts = []
        for key, unit_ms in _UNITS:
            count, left = divmod(left, unit_ms)
            parts += [self(key, n=count)] if count else []
        return " ".join(parts) or self("time.seconds", n=0)

    def ago(self, at_ms: int) -> str:
        """A time as its distance from the page's."""
        distance_ms = self._now_ms - at_ms
        if abs(distance_ms) < SECOND_MS:
            return self("time.now")
        key = "time.ago" if distance_ms > 0 else "time.ahead"
        return self(key, duration=self.duration(abs(distance_ms)))

    def reason(self, blocker: Blocker, title: Callable[[str], str]) -> str:
        """Why a job waits, with the amount short and who holds it; `title` says what a share is called."""
        phrase = self(f"blocker.{blocker.code}")
        if blocker.short_milli > 0:
            phrase = self("blocker.short", reason=phrase, amount=_short_amount(blocker))
        if blocker.holders:
            holders = ", ".join(title(holder) for holder in blocker.holders[:MOST_HOLDERS])
            phrase = self("blocker.ahead" if blocker.code in _AHEAD else "blocker.held", reason=phrase, holders=holders)
        return phrase

    def unblock(self, blocker: Blocker, title: Callable[[str], str]) -> str:
        """What would unblock a job, as one sentence."""
        key = "unblock.guaranteed" if blocker.guaranteed else f"unblock.{blocker.code}"
        return self(key, share=title(blocker.share), amount=_short_amount(blocker))

    def expected_start(self, why: Why) -> str:
        """When a job may start, or why that is not known; empty when nobody asked."""
        eta = why.eta
        if eta is None:
            return "" if why.no_eta in _SILENT else self(f"no_eta.{why.no_eta}")
        first = "" if eta.earliest_ms is None else self.ago(max(eta.earliest_ms, self._now_ms))
        if eta.latest_ms is not None:
            last = self.ago(max(eta.latest_ms, self._now_ms))
            return first if last == first else self("eta.range", first=first, last=last)
        if eta.followed_until_ms is None:
            last = self("eta.never")
        else:
            last = self("eta.beyond", when=self.ago(eta.followed_until_ms))
        return self("eta.open", first=first, last=last) if first else last

    def how_expected(self, eta: Eta) -> list[str]:
        """Method and assumptions of an expected start, a sentence each."""
        return [self(f"eta.{eta.method}"), *(self._assumed(each) for each in eta.assumptions)]

    def _assumed(self, assumption: Assumption) -> str:
        return self(
            f"assumed.{assumption.code}",
            percent=assumption.percent,
            jobs=assumption.jobs,
            step=self.exact_duration(assumption.step_ms or 0),
        )

    def happened(self, line: TimelineLine, site_title: Callable[[str], str]) -> str:
        """One step of a job's life; `site_title` says what a site is called."""
        return self(
            f"moment.{line.what}",
            jobs=", ".join(line.jobs),
            site=site_title(line.site),
            attempt=line.attempt,
            exit_code=line.exit_code,
            reservation=line.reservation,
            detail=line.detail,
        )


def _short_amount(blocker: Blocker) -> str:
    return f"{format_gpus(blocker.short_milli)} {blocker.gpu_class or 'GPU'}"


def preferred_language(asked: str | None, remembered: str | None, accept_language: str) -> str:
    """The language to answer in: what was asked for, what was chosen before, what the browser prefers, else English."""
    for choice in (asked, remembered, *_by_quality(accept_language)):
        if choice in LANGUAGES:
            return choice
    return "en"


def _by_quality(accept_language: str) -> list[str]:
    """Primary tags of an Accept-Language header, most wanted first."""
    wanted: list[tuple[float, int, str]] = []
    for part in accept_language.split(","):
        tag, _, parameter = part.strip().partition(";")
        quality = _quality(parameter)
        if tag and quality > 0:
            wanted.append((-quality, len(wanted), tag.split("-")[0].lower()))
    return [tag for _, _, tag in sorted(wanted)]


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
