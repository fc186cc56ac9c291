"""What sites are assured as, and what data asks of them, in a nation file: read, written back, checked and compared.

A scheme is declared with its grades, lowest first; nothing here knows any scheme by name, for they are reformed while a
platform lives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dure.intake.fields import Entry, Problems, listing, matching, moment, name, titles
from dure.intake.refusals import Problem, did_you_mean
from dure.model.datasets import AssuranceNeed
from dure.model.dates import format_moment
from dure.model.fleet import Assurance, AssuranceScheme
from dure.model.nation import Nation

Document = dict[str, object]

MOST_SCHEMES = 100
MOST_GRADES = 100
MOST_ASSURANCES = 1_000
_SCHEME = ("name", "title", "grades")
_ASSURANCE = ("scheme", "grade", "valid_from", "valid_to")
_NEED = ("scheme", "grade")
_GRADE = matching(
    re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62})"), "must be a grade: letters, digits, '.', '_' or '-', at most 63"
)


def read_assurance_schemes(problems: Problems, field: str, value: object) -> tuple[AssuranceScheme, ...]:
    """The `assurance_schemes` of a nation file."""
    return tuple(listing(problems, field, value, _scheme, MOST_SCHEMES))


def read_assurances(problems: Problems, field: str, value: object) -> tuple[Assurance, ...]:
    """The `assurances` of a site."""
    return tuple(listing(problems, field, value, _assurance, MOST_ASSURANCES))


def read_assurance_needs(problems: Problems, field: str, value: object) -> tuple[AssuranceNeed, ...]:
    """The `assurance` that a dataset asks of sites."""
    return tuple(listing(problems, field, value, _need, MOST_SCHEMES))


def _scheme(problems: Problems, field: str, value: object) -> AssuranceScheme:
    entry = Entry(problems, field, value, _SCHEME)
    title_ko, title_en = entry.optional("title", titles, ("", ""))
    no_grades: tuple[str, ...] = ()
    return AssuranceScheme(
        name=entry.required("name", name, "give the scheme a name", ""),
        grades=entry.required("grades", _grades, "add its grades, lowest first", no_grades),
        title_ko=title_ko,
        title_en=title_en,
    )


def _grades(problems: Problems, field: str, value: object) -> tuple[str, ...]:
    return tuple(listing(problems, field, value, _GRADE, MOST_GRADES))


def _assurance(problems: Problems, field: str, value: object) -> Assurance:
    entry = Entry(problems, field, value, _ASSURANCE)
    found = Assurance(
        scheme=entry.required("scheme", name, "name the scheme", ""),
        grade=entry.required("grade", _GRADE, "add the grade", ""),
        valid_from_ms=entry.optional("valid_from", moment, 0),
        valid_to_ms=entry.optional("valid_to", moment, 0),
    )
    if isinstance(value, dict) and found.valid_to_ms and found.valid_to_ms <= found.valid_from_ms:
        problems.add(f"{field}.valid_to", value.get("valid_to"), "is not after valid_from", "swap the two")
    return found


def _need(problems: Problems, field: str, value: object) -> AssuranceNeed:
    entry = Entry(problems, field, value, _NEED)
    return AssuranceNeed(
        scheme=entry.required("scheme", name, "name the scheme", ""),
        grade=entry.required("grade", _GRADE, "add the lowest grade that will do", ""),
    )


def assurance_scheme_document(scheme: AssuranceScheme) -> Document:
    """A scheme as it stands in a nation file."""
    title = {language: text for language, text in (("ko", scheme.title_ko), ("en", scheme.title_en)) if text}
    named: Document = {"name": scheme.name} | ({"title": title} if title else {})
    return named | {"grades": list(scheme.grades)}


def assurances_document(assurances: tuple[Assurance, ...]) -> list[Document]:
    """What a site is assured as, as it stands in a nation file."""
    return [_assurance_document(each) for each in assurances]


def _assurance_document(assurance: Assurance) -> Document:
    dates = {"valid_from": assurance.valid_from_ms, "valid_to": assurance.valid_to_ms}
    named: Document = {"scheme": assurance.scheme, "grade": assurance.grade}
    return named | {key: format_moment(at_ms) for key, at_ms in dates.items() if at_ms}


def assurance_needs_document(needs: tuple[AssuranceNeed, ...]) -> list[Document]:
    """What a dataset asks of sites, as it stands in a nation file."""
    return [{"scheme": each.scheme, "grade": each.grade} for each in needs]


def assurance_scheme_facts(scheme: AssuranceScheme) -> dict[str, str]:
    """Each detail of a scheme as people read it in a difference."""
    return {
        "grades": ", ".join(scheme.grades),
        "Korean title": scheme.title_ko,
        "English title": scheme.title_en,
    }


def describe_assurances(assurances: tuple[Assurance, ...]) -> str:
    """What a site is assured as, in one line."""
    return ", ".join(_described(each) for each in assurances)


def _described(assurance: Assurance) -> str:
    since = f" from {format_moment(assurance.valid_from_ms)}" if assurance.valid_from_ms else ""
    until = f" to {format_moment(assurance.valid_to_ms)}" if assurance.valid_to_ms else ""
    return f"{assurance.scheme} {assurance.grade}{since}{until}"


def assurance_schemes_are_sound(nation: Nation) -> Iterator[Problem]:
    """A scheme is declared once and has grades, each once."""
    first: dict[str, int] = {}
    for index, scheme in enumerate(nation.assurance_schemes):
        field = f"assurance_schemes[{index}]"
        if scheme.name and first.setdefault(scheme.name, index) != index:
            message = f"the scheme is already at assurance_schemes[{first[scheme.name]}].name"
            hint = "give one of them another name"
            yield Problem(field=f"{field}.name", value=scheme.name, message=message, hint=hint)
        if not scheme.grades:
            message = "a scheme has at least one grade"
            yield Problem(field=f"{field}.grades", value="", message=message, hint="write its grades, lowest first")
        if len(set(scheme.grades)) != len(scheme.grades):
            message, hint = "has a grade twice", "keep one"
            yield Problem(field=f"{field}.grades", value=", ".join(scheme.grades), message=message, hint=hint)


def assurances_name_declared_grades(nation: Nation) -> Iterator[Problem]:
    """Sites are assured, and data asks for assurance, under declared schemes and in their grades."""
    for s, site in enumerate(nation.sites):
        for a, assurance in enumerate(site.assurances):
            yield from _undeclared(nation, f"sites[{s}].assurances[{a}]", assurance)
    for d, dataset in enumerate(nation.datasets):
        for n, need in enumerate(dataset.assurance):
            yield from _undeclared(nation, f"datasets[{d}].assurance[{n}]", need)


def _undeclared(nation: Nation, field: str, named: Assurance | AssuranceNeed) -> Iterator[Problem]:
    if not named.scheme or not named.grade:
        return
    schemes = {each.name: each for each in nation.assurance_schemes}
    scheme = schemes.get(named.scheme)
    if scheme is None:
        hint = did_you_mean(named.scheme, list(schemes), "declare it under assurance_schemes")
        yield Problem(field=f"{field}.scheme", value=named.scheme, message="there is no such scheme", hint=hint)
    elif named.grade not in scheme.grades:
        hint = did_you_mean(named.grade, scheme.grades)
        message = f"the scheme {scheme.name} has no such grade"
        yield Problem(field=f"{field}.grade", value=named.grade, message=message, hint=hint)
