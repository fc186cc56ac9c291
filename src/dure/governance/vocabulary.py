"""The closed vocabulary that rule packs are written in: facts that people declare, and kinds of evidence.

A pack can ask for no fact and no evidence that is not declared here, each with its question in Korean and English. So
whoever fills in facts sees every question that any duty can hang on.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Text(Struct, frozen=True, kw_only=True):
    """Words that people read, in both languages."""

    ko: str
    en: str

    def told(self, language: str) -> str:
        """The words in `ko` or `en`."""
        return self.ko if language == "ko" else self.en


class FactType(StrEnum):
    """What a fact's value can be."""

    YES_NO = "yes-no"
    CHOICE = "choice"
    """One word of a list."""
    CHOICES = "choices"
    """Any words of a list, or none of them."""
    AMOUNT = "amount"
    """A whole number, or the bounds that it lies between."""
    DAY = "day"
    COUNTRY = "country"


class Fact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that a person declares about a model, its use or its maker. `unit` is that of an amount."""

    name: str
    type: FactType
    question: Text
    words: dict[str, Text] = {}
    """The values of a choice, each with what it means."""
    unit: str = ""


class EvidenceKind(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A kind of evidence. `by_platform` says that the platform can make it from what it recorded itself."""

    name: str
    title: Text
    by_platform: bool = False


class Vocabulary(Struct, frozen=True, kw_only=True):
    """All facts and kinds of evidence, by name."""

    facts: dict[str, Fact]
    evidence: dict[str, EvidenceKind]
