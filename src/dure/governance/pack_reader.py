"""Reads rule packs, strictly: what is misspelt, unknown or without a source is refused, file and provision named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256

from dure.governance.condition_reader import ConditionReader
from dure.governance.expressions import Always, Condition
from dure.governance.facts import read_day, read_number
from dure.governance.packs import (
    Check,
    Deadline,
    Deeming,
    EvidenceNeed,
    Fine,
    Guidance,
    Kind,
    Mark,
    Pack,
    Provision,
    Source,
)
from dure.governance.periods import Period, PeriodError, parse_period
from dure.governance.vocabulary import FactType, Text, Vocabulary
from dure.intake.documents import read_yaml
from dure.intake.fields import Entry, Problems, choice, flag, inside, listing, mapping, matching, one_or_more, text
from dure.intake.fields import name as read_name
from dure.intake.refusals import BadInput, Problem, did_you_mean

PACK_FIELDS = ("pack", "version", "title", "sources", "conditions", "defaults", "provisions")
PROVISION_FIELDS = (
    "id",
    "jurisdiction",
    "instrument",
    "article",
    "title",
    "kind",
    "applies_when",
    "obligation",
    "evidence",
    "deadline",
    "retention",
    "penalty",
    "fine",
    "effective_from",
    "effective_to",
    "supersedes",
    "source",
    "checked",
    "cedar_ref",
    "guidance",
    "deems",
)
MOST_PROVISIONS = 500
MOST_ITEMS = 50
LONGEST_PARAGRAPH = 4_000

_ID = re.compile(r"[A-Z][A-Za-z0-9]*(?:[-.][A-Za-z0-9]+)*")
_VERSION = re.compile(r"\d{1,5}(?:\.\d{1,5}){1,3}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_URL = re.compile(r"https://[!-~]+")
_PERCENT = re.compile(r"\d{1,2}(?:\.\d{1,3})?", re.ASCII)

read_id = matching(_ID, "must be an id like KR-AIBA-31-1")
read_version = matching(_VERSION, "must be a version like 2026.11.1")
_NO_TEXT = Text(ko="", en="")
_NO_CHECK = Check(by="", on="", mark=Mark.MEMORY)
_NO_PROVISIONS: list[Provision] = []
_NO_NEEDS: tuple[EvidenceNeed, ...] = ()
_ALWAYS: Condition = Always()


def read_pack(file: str, document: str, vocabulary: Vocabulary) -> Pack:
    """The pack in a YAML document. Raises `BadInput` with every problem, its file and its provision."""
    with problems_in(file):
        problems = Problems()
        pack = _PackReader(problems, vocabulary).read(read_yaml(document), sha256(document.encode()).hexdigest())
        problems.raise_if_any()
        return pack


@contextmanager
def problems_in(file: str) -> Iterator[None]:
    """Names the file in every problem that is found meanwhile."""
    try:
        yield
    except BadInput as error:
        found = [
            Problem(
                field=f"{file}: {each.field}".removesuffix(": "), value=each.value, message=each.message, hint=each.hint
            )
            for each in error.problems
        ]
        raise BadInput(found) from None


def paragraph(problems: Problems, field: str, value: object) -> Text:
    """Words in both languages; a text in only one of them is refused."""
    entry = Entry(problems, field, value, ("ko", "en"))

    def words(problems: Problems, field: str, value: object) -> str:
        return text(problems, field, value, longest=LONGEST_PARAGRAPH)

    return Text(
        ko=entry.required("ko", words, "write it in Korean", ""),
        en=entry.required("en", words, "write it in English", ""),
    )


class _PackReader:
    """One pack's document, with what its provisions may refer to: sources, conditions, defaults."""

    def __init__(self, problems: Problems, vocabulary: Vocabulary) -> None:
        self._problems = problems
        self._vocabulary = vocabulary
        self._conditions = ConditionReader(vocabulary.facts)
        self._sources: dict[str, Source] = {}
        self._defaults: dict[str, object] = {}

    def read(self, value: object, digest: str) -> Pack:
        """The whole pack."""
        problems = self._problems
        entry = Entry(problems, "", value, PACK_FIELDS)
        self._sources = entry.optional("sources", self._read_sources, {})
        entry.optional("conditions", self._define_conditions, None)
        self._defaults = entry.optional("defaults", self._read_defaults, {})
        provisions = entry.required(
            "provisions", self._read_provisions, "list what the instrument asks", _NO_PROVISIONS
        )
        self._check_references(provisions)
        return Pack(
            name=entry.required("pack", read_name, "name the pack", ""),
            version=entry.required("version", read_version, "write a version like 2026.11.1", ""),
            title=entry.required("title", paragraph, "name the instrument in both languages", _NO_TEXT),
            provisions=tuple(provisions),
            digest=digest,
        )

    def _read_sources(self, problems: Problems, field: str, value: object) -> dict[str, Source]:
        named = mapping(problems, field, value)
        return {name: read_source(problems, inside(field, name), each) for name, each in named.items()}

    def _define_conditions(self, problems: Problems, field: str, value: object) -> None:
        for name, each in mapping(problems, field, value).items():
            self._conditions.define(problems, inside(field, name), name, each)

    def _read_defaults(self, problems: Problems, field: str, value: object) -> dict[str, object]:
        values = mapping(problems, field, value)
        for name in values:
            if name not in PROVISION_FIELDS or name == "id":
                hint = did_you_mean(name, PROVISION_FIELDS)
                problems.add_about_field(inside(field, name), "cannot be a default of provisions", hint)
        return values

    def _read_provisions(self, problems: Problems, field: str, value: object) -> list[Provision]:
        provisions = listing(problems, field, value, self._read_provision, MOST_PROVISIONS)
        seen: set[str] = set()
        for each in provisions:
            if each.id in seen:
                problems.add_about_field(each.id, "appears twice", "keep one, or give it its own id")
            seen.add(each.id)
        return provisions

    def _read_provision(self, problems: Problems, field: str, value: object) -> Provision:
        values = self._defaults | mapping(problems, field, value)
        id = read_id(problems, inside(field, "id"), values.get("id"))
        where = id or field
        entry = Entry(problems, where, values, PROVISION_FIELDS)
        provision = Provision(
            id=id,
            jurisdiction=entry.required("jurisdiction", _word, "say whose law it is, like KR", ""),
            instrument=entry.required("instrument", paragraph, "name the act, decree or standard", _NO_TEXT),
            article=entry.required("article", _line, "name the article, like Act 31(1)", ""),
            title=entry.required("title", paragraph, "give it a title in both languages", _NO_TEXT),
            kind=entry.required("kind", choice(Kind), f"one of {', '.join(Kind)}", Kind.GUIDANCE),
            applies_when=entry.required("applies_when", self._conditions.read, "write `always` if so", _ALWAYS),
            obligation=entry.required("obligation", paragraph, "say what is asked, in both languages", _NO_TEXT),
            source=entry.required("source", self._read_source_names, "name a source of this pack", ()),
            checked=entry.required("checked", read_check, "say by whom, on which day, with which mark", _NO_CHECK),
            evidence=entry.optional("evidence", self._read_evidence, ()),
            deadline=entry.optional("deadline", self._read_deadline, None),
            retention=entry.optional("retention", read_period, None),
            penalty=entry.optional("penalty", _ids, ()),
            fine=entry.optional("fine", read_fine, None),
            effective_from=entry.optional("effective_from", read_day, ""),
            effective_to=entry.optional("effective_to", read_day, ""),
            supersedes=entry.optional("supersedes", read_id, ""),
            cedar_ref=entry.optional("cedar_ref", _names, ()),
            guidance=entry.optional("guidance", self._read_guidance, ()),
            deems=entry.optional("deems", self._read_deemings, ()),
        )
        self._check(where, provision)
        return provision

    def _read_source_names(self, problems: Problems, field: str, value: object) -> tuple[Source, ...]:
        def one(problems: Problems, field: str, value: object) -> Source:
            if isinstance(value, str) and value in self._sources:
                return self._sources[value]
            hint = did_you_mean(value, list(self._sources)) if isinstance(value, str) else ""
            problems.add(field, value, "is not a source of this pack", hint)
            return Source(title="")

        return one_or_more(problems, field, value, one, MOST_ITEMS)

    def _read_evidence(self, problems: Problems, field: str, value: object) -> tuple[EvidenceNeed, ...]:
        return tuple(listing(problems, field, value, self._read_need, MOST_ITEMS))

    def _read_need(self, problems: Problems, field: str, value: object) -> EvidenceNeed:
        if not isinstance(value, dict):
            return EvidenceNeed(kind=self._evidence_kind(problems, field, value))
        entry = Entry(problems, field, value, ("kind", "optional"))
        return EvidenceNeed(
            kind=entry.required("kind", self._evidence_kind, "name a kind of evidence", ""),
            optional=entry.optional("optional", flag, False),
        )

    def _evidence_kind(self, problems: Problems, field: str, value: object) -> str:
        kinds = self._vocabulary.evidence
        if isinstance(value, str) and value in kinds:
            return value
        hint = did_you_mean(value, list(kinds)) if isinstance(value, str) else ""
        problems.add(field, value, "is not a declared kind of evidence", hint)
        return ""

    def _read_deadline(self, problems: Problems, field: str, value: object) -> Deadline | None:
        entry = Entry(problems, field, value, ("within", "after", "extension"))
        within = entry.required("within", read_period, "write it like 2 weeks", None)
        after = entry.required("after", self._day_fact, "name the fact that tells the day", "")
        extension = entry.optional("extension", read_period, None)
        return Deadline(within=within, after=after, extension=extension) if within else None

    def _day_fact(self, problems: Problems, field: str, value: object) -> str:
        days = [name for name, fact in self._vocabulary.facts.items() if fact.type is FactType.DAY]
        if isinstance(value, str) and value in days:
            return value
        hint = did_you_mean(value, days) if isinstance(value, str) else ""
        problems.add(field, value, "is not a declared fact that is a day", hint)
        return ""

    def _read_guidance(self, problems: Problems, field: str, value: object) -> tuple[Guidance, ...]:
        def one(problems: Problems, field: str, value: object) -> Guidance:
            entry = Entry(problems, field, value, ("text", "mark", "source"))
            return Guidance(
                text=entry.required("text", paragraph, "say it in both languages", _NO_TEXT),
                mark=entry.required("mark", choice(Mark), "one of V, S, M", Mark.MEMORY),
                source=entry.optional("source", self._read_source_names, ()),
            )

        return tuple(listing(problems, field, value, one, MOST_ITEMS))

    def _read_deemings(self, problems: Problems, field: str, value: object) -> tuple[Deeming, ...]:
        return tuple(listing(problems, field, value, self._read_deeming, MOST_ITEMS))

    def _read_deeming(self, problems: Problems, field: str, value: object) -> Deeming:
        entry = Entry(problems, field, value, ("provision", "evidence", "when"))
        evidence = entry.required("evidence", self._read_evidence, "list the kinds of evidence", _NO_NEEDS)
        return Deeming(
            provision=entry.required("provision", read_id, "name the provision", ""),
            evidence=tuple(need.kind for need in evidence),
            when=entry.optional("when", self._conditions.read, _ALWAYS),
        )

    def _check(self, where: str, provision: Provision) -> None:
        """What fields must say to each other."""
        problems = self._problems
        if provision.must_be_shown and all(need.optional for need in provision.evidence):
            hint = "without it, nothing could ever show that it was done"
            problems.add_about_field(inside(where, "evidence"), f"a {provision.kind} needs some evidence", hint)
        if provision.effective_to and provision.effective_to < provision.effective_from:
            problems.add(inside(where, "effective_to"), provision.effective_to, "is before effective_from")
        if (provision.fine is not None) != (provision.kind is Kind.PENALTY):
            problems.add_about_field(
                inside(where, "fine"), "belongs to a penalty, and to every penalty", "write {} for none"
            )

    def _check_references(self, provisions: Sequence[Provision]) -> None:
        """Penalties, superseded and deemed provisions must be in the pack."""
        by_id = {each.id: each for each in provisions}
        for each in provisions:
            for id in each.penalty:
                if id not in by_id or by_id[id].kind is not Kind.PENALTY:
                    self._problems.add(inside(each.id, "penalty"), id, "is not a penalty of this pack")
            if each.supersedes and each.supersedes not in by_id:
                self._problems.add(inside(each.id, "supersedes"), each.supersedes, "is not in this pack")
            for deeming in each.deems:
                deemed = by_id.get(deeming.provision)
                kinds = {need.kind for need in deemed.evidence} if deemed else set()
                if not deeming.evidence or not kinds.issuperset(deeming.evidence):
                    message = "names evidence that the provision does not ask for"
                    self._problems.add(inside(each.id, "deems"), deeming.provision, message)


def read_source(problems: Problems, field: str, value: object) -> Source:
    """A source. Where its address or its digest is not known, a note must say so."""
    entry = Entry(problems, field, value, ("title", "url", "retrieved", "sha256", "note"))
    source = Source(
        title=entry.required("title", _line, "say what it is", ""),
        url=entry.optional("url", matching(_URL, "must be an https address"), ""),
        retrieved=entry.optional("retrieved", read_day, ""),
        sha256=entry.optional("sha256", matching(_SHA256, "must be 64 hexadecimal digits"), ""),
        note=entry.optional("note", _line, ""),
    )
    if not source.note and not (source.url and source.retrieved and source.sha256):
        hint = "add a note that says why the address, the day or the digest is not known"
        problems.add_about_field(field, "lacks url, retrieved or sha256", hint)
    return source


def read_check(problems: Problems, field: str, value: object) -> Check:
    """By whom, on which day, with which mark."""
    entry = Entry(problems, field, value, ("by", "on", "mark"))
    return Check(
        by=entry.required("by", _line, "say who compared it with its sources", ""),
        on=entry.required("on", read_day, "say on which day", ""),
        mark=entry.required("mark", choice(Mark), "one of V, S, M", Mark.MEMORY),
    )


def read_period(problems: Problems, field: str, value: object) -> Period | None:
    """A period such as `30 days`."""
    try:
        return parse_period(value if isinstance(value, str) else "")
    except PeriodError:
        problems.add(field, value, "is not a period", "write it like 30 days, 2 weeks, 1 month or 5 years")
        return None


def read_fine(problems: Problems, field: str, value: object) -> Fine:
    """An amount with its currency, a percentage of turnover, or both (then the higher counts)."""
    entry = Entry(problems, field, value, ("most", "currency", "turnover_percent"))
    fine = Fine(
        most=entry.optional("most", lambda problems, field, value: read_number(problems, field, value, ""), 0),
        currency=entry.optional("currency", matching(re.compile("[A-Z]{3}"), "must be like KRW"), ""),
        turnover_percent=entry.optional("turnover_percent", matching(_PERCENT, "must be per cent, like 3"), ""),
    )
    if bool(fine.most) != bool(fine.currency):
        problems.add_about_field(field, "needs an amount and its currency together", "write both or neither")
    return fine


def _line(problems: Problems, field: str, value: object) -> str:
    return text(problems, field, value, longest=1_000)


def _word(problems: Problems, field: str, value: object) -> str:
    return text(problems, field, value, longest=20)


def _ids(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    return one_or_more(problems, field, value, read_id, MOST_ITEMS)


def _names(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    return one_or_more(problems, field, value, read_name, MOST_ITEMS)
