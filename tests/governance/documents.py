"""Small rule packs for tests, as an operator would write them."""

from __future__ import annotations

from dure.governance.library import read_library
from dure.governance.packs import Library

VOCABULARY = """
facts:
  sunny: {type: yes-no, question: {ko: 맑습니까?, en: Is it sunny?}}
  warm: {type: yes-no, question: {ko: 따뜻합니까?, en: Is it warm?}}
  fields:
    type: choices
    question: {ko: 어느 밭입니까?, en: Which fields?}
    words: {rice: {ko: 논, en: Rice}, barley: {ko: 보리밭, en: Barley}, hemp: {ko: 삼밭, en: Hemp}}
  season:
    type: choice
    question: {ko: 어느 계절입니까?, en: Which season?}
    words: {spring: {ko: 봄, en: Spring}, autumn: {ko: 가을, en: Autumn}}
  compute: {type: amount, unit: FLOP, question: {ko: 연산량은?, en: How much compute?}}
  people: {type: amount, unit: people, question: {ko: 몇 명입니까?, en: How many people?}}
  sown-on: {type: day, question: {ko: 언제 심었습니까?, en: Sown when?}}
  village: {type: country, question: {ko: 어느 나라입니까?, en: Which country?}}
evidence:
  diary: {title: {ko: 일지, en: Diary}, by_platform: true}
  photograph: {title: {ko: 사진, en: Photograph}}
  seal: {title: {ko: 도장, en: Seal}}
"""

HEADER = """
pack: village
version: "1.0"
title: {ko: 마을 규약, en: Village rules}
sources:
  elders: {title: What the elders said, note: nobody wrote it down}
defaults:
  jurisdiction: KR
  instrument: {ko: 마을 규약, en: Village rules}
  article: "1"
  source: elders
  checked: {by: the village, on: "2026-11-01", mark: S}
"""


WORK_TOGETHER = "{ko: 함께 일하기, en: Work together}"


def provision(
    id: str = "V-1",
    kind: str = "duty",
    applies_when: str = "always",
    more: str = "",
    title: str = WORK_TOGETHER,
) -> str:
    """One provision; `more` are further lines, indented by four."""
    evidence = "" if "evidence:" in more or kind not in {"duty", "prohibition"} else "\n    evidence: [diary]"
    return f"""
  - id: {id}
    kind: {kind}
    title: {title}
    applies_when: {applies_when}
    obligation: {{ko: 함께 일합니다., en: Work together.}}{evidence}
{more}"""


def pack(*provisions: str, header: str = HEADER) -> str:
    """A pack's document."""
    return f"{header}\nprovisions:{''.join(provisions)}\n"


def library(*provisions: str, header: str = HEADER) -> Library:
    """The library that holds this one pack."""
    return read_library({"vocabulary.yaml": VOCABULARY, "village.yaml": pack(*provisions, header=header)})
