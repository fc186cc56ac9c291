"""Nation files: read, checked as a whole, and written back."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dure.intake.nation_checks import AMOUNT_CHECKS, NAME_CHECKS, check_nation
from dure.intake.nationfile import nation_from_document, nation_from_yaml, nation_to_document, write_nation
from dure.intake.refusals import BadInput
from dure.model.datasets import AssuranceNeed, DataClass, DataClassDefinition, Dataset, Purpose
from dure.model.fleet import Assurance, AssuranceScheme, GpuClass, NodeGroup, Site, Timing
from dure.model.nation import Nation
from dure.model.organisations import Organisation, OrganisationKind, Share, ShareAmount

from .conftest import NATION, lines


def problems(text: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        nation_from_yaml(text)
    return lines(caught)


def changed(old: str, new: str) -> list[str]:
    """What is said when one part of the nation is written differently."""
    assert old in NATION
    return problems(NATION.replace(old, new, 1))


def test_a_nation_file_is_read(nation: Nation) -> None:
    assert nation.gpu_classes == (GpuClass(name="H100"), GpuClass(name="B200", exchange_milli=2200))
    assert nation.timing == Timing(protected_ms=600_000, warning_ms=60_000, grace_ms=30_000)
    assert nation.sites[0] == Site(
        name="sejong",
        country="KR",
        owner="government",
        title_ko="세종",
        title_en="Sejong",
        nodes=(NodeGroup(name="sj", count=8, gpu_class="H100", gpus=8, cpus=64, memory_mib=1024 * 1024),),
    )
    assert nation.sites[1].nodes[1] == NodeGroup(
        name="ptc", count=2, gpu_class="", gpus=0, cpus=256, memory_mib=512 * 1024
    )
    assert [(share.name, share.parent) for share in nation.shares] == [
        ("government", None),
        ("public-ai", "government"),
        ("members", "government"),
        ("haneul", "members"),
        ("oslo-lab", "members"),
        ("samsung", None),
    ]
    assert nation.shares[0].amounts == (ShareAmount(gpu_class="H100", guarantee_milli=48_000, lend_milli=32_000),)
    assert nation.shares[0].weight == 2
    assert (nation.organisations[3].country, nation.organisations[3].parent_country) == ("KR", "NO")
    assert nation.datasets[0].classes == (DataClass.NATIONAL_CORE_TECHNOLOGY,)
    assert nation.datasets[0].paths == {"pyeongtaek": "/data/fab-yield"}


def test_an_empty_nation_is_a_nation() -> None:
    assert nation_from_yaml("{}") == Nation()
    assert problems("") == ["must be a mapping of names to values (got nothing)"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: pyeongtaek", "name: sejong", "sites[1].name: the site is already at sites[0].name (got sejong)"),
        ("name: ptc", "name: sj", "sites[1].nodes[1].name: the node group is already at sites[0].nodes[0].name"),
        ("name: haneul, kind", "name: samsung, kind", "organisations[2].name: the organisation is already at"),
        ("{name: haneul, guarantee", "{name: samsung, guarantee", "shares[1].name: the share is already at shares[0]"),
        ("{name: texts", "{name: fab-yield", "datasets[1].name: the dataset is already at datasets[0].name"),
        ("B200: {exchange", "h100: {exchange", "gpu_classes.h100: differs from H100 only in capitals"),
        ("fab-idle", "haneul-llm", "organisations[2].projects[0]: the project is already in organisation samsung"),
        ("fab-idle", "fab-vision", "organisations[1].projects[1]: the project is already in organisation samsung"),
        ("[haneul-llm]", "[samsung]", "the project has the name of another organisation, and would run under its"),
        (
            "owner: government",
            "owner: goverment",
            "sites[0].owner: there is no such organisation (got goverment); did you",
        ),
        ("owner: samsung\n    classes", "owner: x\n    classes", "datasets[0].owner: there is no such organisation"),
        ("readers: [haneul]", "readers: [x]", "datasets[0].readers: there is no such organisation (got x)"),
        (
            "sites: [pyeongtaek]",
            "sites: [pyeongtek]",
            "datasets[0].sites: there is no such site (got pyeongtek); did you",
        ),
        (
            "paths: {pyeong",
            "paths: {sejong: /x, pyeong",
            "datasets[0].paths.sejong: there is a path at a site that holds",
        ),
        ("classes: [public]", "classes: []", "datasets[1].classes: a dataset has at least one class"),
        (
            "classes: [public]",
            "classes: [public, medical]",
            "datasets[1].classes: public data can be of no other class",
        ),
        ("gpus: B200:4", "gpus: B300:4", "sites[1].nodes[0].gpus: there is no such GPU class (got B300)"),
        ("limit: {H100: 8}", "limit: {H20: 8}", "there is no such GPU class (got H20)"),
        ("name: public-ai, g", "name: public, g", "shares[0].children[0]: no organisation or project has this name"),
        ("[public-ai]", "[public-ai, other]", "project other would run under this share, which has children"),
        ("H100:8, cpus", "H200:8, cpus", "sites[0].nodes[0].gpus: there is no such GPU class (got H200)"),
        ("gpu_classes: {", "gpu_classes: {X1: {}, ", "gpu_classes.X1: no node has this class (got X1)"),
        (
            "guarantee: {H100: 32}",
            "guarantee: {H100: 33}",
            "shares[0].guarantee: the children of government are guaranteed",
        ),
        (
            "guarantee: {H100: 48}",
            "guarantee: {H100: 65}",
            "shares.guarantee: all shares together are guaranteed 65 H100",
        ),
        ("guarantee: {B200: 16}", "guarantee: {B200: 17}", "there are only 16; lower the guarantees, or add GPUs"),
        ("lend: {H100: 32}", "limit: {H100: 47}", "shares[0].limit.H100: is below the guarantee of 48 (got 47)"),
        ("lend: {H100: 32}", "lend: {H100: 49}", "shares[0].lend.H100: is more than the guarantee of 48 (got 49)"),
        (
            "lend: {H100: 32}",
            "reclaim_per_hour: {H100: 0}",
            "shares[0].reclaim_per_hour.H100: would never take its guarantee back (got 0); write how many",
        ),
        ("exchange: 2.2", "half_life: 1", "gpu_classes.B200.half_life: has no unit (got 1); write 1s"),
        ("count: 8", "count: -8", "sites[0].nodes[0].count: must lie between 1 and 100,000 (got -8)"),
        ("count: 8", "count: 10000000", "sites[0].nodes[0].count: must lie between 1 and 100,000 (got 10000000)"),
        (
            "gpus: H100:8",
            "gpus: H100:17",
            "sites[0].nodes[0].gpus: a node has 1 to 16 whole GPUs of one class (got H100:17)",
        ),
        ("gpus: H100:8", "gpus: H100:0.5", "sites[0].nodes[0].gpus: a node has 1 to 16 whole GPUs of one class"),
        ("gpus: H100:8", "gpus: 8", "sites[0].nodes[0].gpus: a node has 1 to 16 whole GPUs of one class (got 8)"),
        (
            "guarantee: {H100: 48}",
            "guarantee: {H100: -48}",
            "shares[0].guarantee.H100: is not a number of GPUs (got -48)",
        ),
        (
            "guarantee: {H100: 48}",
            "guarantee: 48",
            "shares[0].guarantee: must be a mapping of names to values (got 48)",
        ),
        ("weight: 2", "weight: 0", "shares[0].weight: must lie between 1 and 1,000,000 (got 0)"),
        ("weight: 2", "wieght: 2", "shares[0].wieght: is not a known field; did you mean weight?"),
        (
            "country: KR\n    owner: samsung",
            "country: Korea\n    owner: samsung",
            "sites[1].country: must be a country of two",
        ),
        ("kind: sme", "kind: smb", "organisations[4].kind: must be one of government, enterprise, sme, startup"),
        ("exchange: 2.2", "exchange: -2", "gpu_classes.B200.exchange: must be a number from 0.001 to 1,000 (got -2)"),
        (
            "exchange: 2.2",
            "exchange: .nan",
            "gpu_classes.B200.exchange: must be a number from 0.001 to 1,000 (got .nan)",
        ),
        ("half_life: 7d", "half_life: 0s", "timing.half_life: must be between one second and ten years (got 0s)"),
        ("grace: 30s", "grace: 30", "timing.grace: has no unit (got 30)"),
        ("purposes: [research]\n", "purposes: [reading]\n", "datasets[0].purposes[0]: must be one of research"),
        ("{pyeongtaek: /data", "{pyeongtaek: data", "datasets[0].paths.pyeongtaek: must be an absolute path"),
        (
            "name: sejong\n",
            "name: Sejong\n",
            "sites[0].name: must be lower-case letters, digits and '-', at most 63 (got",
        ),
        ("    owner: government\n", "", "sites[0].owner: is missing; add the organisation that owns it"),
        ("sites:\n", "site: []\nsites:\n", "site: is not a known field; did you mean sites?"),
    ],
)
def test_a_mistake_in_a_nation_file_is_told_where_it_is(old: str, new: str, message: str) -> None:
    assert any(message in line for line in changed(old, new)), changed(old, new)


def test_a_mistake_is_told_once_and_nothing_else_is() -> None:
    assert changed("weight: 2", "wieght: 2") == ["shares[0].wieght: is not a known field; did you mean weight?"]
    assert len(changed("guarantee: {H100: 32}", "guarantee: {H100: 33}")) == 1


def test_all_problems_are_told_at_once() -> None:
    text = NATION.replace("owner: government\n", "owner: nobody\n").replace("weight: 2", "wieght: 2")
    assert [line.split(":")[0] for line in problems(text.replace("count: 8", "count: 0"))] == [
        "shares[0].wieght",
        "sites[0].nodes[0].count",
        "sites[0].owner",
    ]


def test_a_tree_deeper_than_eight_levels_is_refused() -> None:
    def tree(levels: int) -> dict[str, Any]:
        share: dict[str, Any] = {"name": "deep-project"}
        for level in range(levels - 1):
            share = {"name": f"level-{level}", "children": [share]}
        organisation = {"name": "deep", "kind": "sme", "country": "KR", "projects": ["deep-project"]}
        return {"organisations": [organisation], "shares": [share]}

    assert len(nation_from_document(tree(8)).shares) == 8
    with pytest.raises(BadInput, match="the tree is deeper than 8 levels"):
        nation_from_document(tree(9))


def test_more_than_sixty_sites_are_refused() -> None:
    def sites(count: int) -> dict[str, Any]:
        organisation = {"name": "owner", "kind": "government", "country": "KR"}
        return {
            "organisations": [organisation],
            "sites": [{"name": f"site-{n}", "country": "KR", "owner": "owner"} for n in range(count)],
        }

    assert len(nation_from_document(sites(60)).sites) == 60
    with pytest.raises(BadInput, match="has more than 60 sites"):
        nation_from_document(sites(61))


def test_every_check_is_in_use(nation: Nation) -> None:
    assert len({*NAME_CHECKS, *AMOUNT_CHECKS}) == 19
    assert check_nation(nation) == []


def test_norway_stays_a_country(nation: Nation) -> None:
    written = write_nation(nation)
    assert "parent_country: 'NO'" in written
    assert nation_from_yaml(written.replace("'NO'", "NO")) == nation


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)
TITLES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=10)
COUNTRIES = st.sampled_from(["KR", "NO", "US"])
OWN_CLASS = DataClassDefinition(name="trade-secret", restricted=True, title_ko="영업비밀")
CLASSES = [*list(DataClass)[1:], OWN_CLASS.name]
ASSURANCES = [
    (),
    (Assurance(scheme="csap", grade="high"), Assurance(scheme="csap", grade="low", valid_from_ms=1, valid_to_ms=2)),
]
MILLI = st.integers(0, 1000) | st.integers(1, 40).map(lambda gpus: gpus * 1000)


@st.composite
def nations(draw: st.DrawFn) -> Nation:
    """Sound nations of a few of everything: one class per site, organisations with shares in groups."""
    owners = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    organisations = tuple(_organisation(draw, name) for name in owners)
    sites = tuple(_site(draw, index, draw(st.sampled_from(owners))) for index in range(draw(st.integers(1, 3))))
    classes = tuple(GpuClass(name=f"C{n}", exchange_milli=draw(st.integers(1, 5000))) for n in range(len(sites)))
    capacity = Nation(sites=sites).capacity_milli("C0")
    top = Share(name="all-of-us", parent=None, weight=draw(st.integers(1, 9)), amounts=_amounts(draw, capacity))
    left = [top.amounts[0].guarantee_milli // 1000 // len(owners) * 1000 if top.amounts else 0] * len(owners)
    leaves = tuple(
        Share(name=name, parent="all-of-us", amounts=_amounts(draw, most))
        for name, most in zip(owners, left, strict=True)
    )
    data = Dataset(
        name="data",
        owner=owners[0],
        classes=tuple(draw(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=3, unique=True))),
        jurisdiction=draw(COUNTRIES),
        purposes=tuple(draw(st.lists(st.sampled_from(Purpose), min_size=1, unique=True))),
        sites=(sites[0].name,),
        readers=tuple(draw(st.lists(st.sampled_from([*owners, "*"]), max_size=2))),
        paths=draw(st.sampled_from([{}, {sites[0].name: "/data/ü 1"}])),
        title_ko=draw(TITLES),
        title_en=draw(TITLES),
        size_bytes=draw(st.integers(0, 1 << 50)),
        digest=draw(st.sampled_from(["", "0f" * 32])),
        state_funded=draw(st.booleans()),
        embargo_until_ms=draw(st.sampled_from([0, 1_900_000_000_000])),
        assurance=draw(st.sampled_from([(), (AssuranceNeed(scheme="csap", grade="low"),)])),
    )
    timing = Timing(protected_ms=draw(st.integers(0, 86_400_000)), backfill_depth=draw(st.integers(0, 1000)))
    shares = draw(st.sampled_from([(), (top, *leaves)]))
    return Nation(
        gpu_classes=classes,
        sites=sites,
        organisations=organisations,
        shares=shares,
        datasets=(data,),
        timing=timing,
        data_classes=(OWN_CLASS,),
        assurance_schemes=(AssuranceScheme(name="csap", grades=("low", "high"), title_ko=draw(TITLES)),),
    )


def _organisation(draw: st.DrawFn, name: str) -> Organisation:
    return Organisation(
        name=name,
        kind=draw(st.sampled_from(OrganisationKind)),
        country=draw(COUNTRIES),
        parent_country=draw(COUNTRIES),
        projects=tuple(f"{name}-{n}" for n in range(draw(st.integers(0, 2)))),
        title_ko=draw(TITLES),
        title_en=draw(TITLES),
    )


def _site(draw: st.DrawFn, index: int, owner: str) -> Site:
    gpus = NodeGroup(
        name=f"g{index}",
        count=draw(st.integers(1, 50)),
        gpu_class=f"C{index}",
        gpus=draw(st.integers(1, 16)),
        cpus=draw(st.integers(1, 256)),
        memory_mib=draw(st.integers(1, 4_000_000)),
    )
    plain = NodeGroup(name=f"p{index}", count=1, gpu_class="", gpus=0, cpus=1, memory_mib=1)
    nodes = draw(st.sampled_from([(gpus,), (gpus, plain)]))
    return Site(
        name=f"s{index}",
        country=draw(COUNTRIES),
        owner=owner,
        nodes=nodes,
        title_ko=draw(TITLES),
        title_en=draw(TITLES),
        assurances=draw(st.sampled_from(ASSURANCES)),
    )


def _amounts(draw: st.DrawFn, most_milli: int) -> tuple[ShareAmount, ...]:
    guarantee = min(draw(MILLI), most_milli)
    usual = ShareAmount(gpu_class="C0")
    amount = ShareAmount(
        gpu_class="C0",
        guarantee_milli=guarantee,
        limit_milli=draw(st.sampled_from([usual.limit_milli, guarantee, 1_000_000])),
        lend_milli=draw(st.sampled_from([usual.lend_milli, guarantee, 0])),
    )
    return () if amount == usual else (amount,)


@settings(max_examples=60, deadline=None)
@given(nations())
def test_what_is_written_is_read_back_as_the_same_nation(nation: Nation) -> None:
    assert nation_from_yaml(write_nation(nation)) == nation
    assert nation_from_document(nation_to_document(nation)) == nation
    assert write_nation(nation_from_yaml(write_nation(nation))) == write_nation(nation)


SCRAPS = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["KR", "H100:8", "sejong", "4h"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "nodes", "children", "guarantee", "count", "H100", "x"]), inner)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["gpu_classes", "timing", "sites", "organisations", "shares", "datasets"]), SCRAPS)
)
def test_any_document_is_a_sound_nation_or_is_refused(document: dict[str, object]) -> None:
    try:
        nation = nation_from_document(document)
    except BadInput:
        return
    assert check_nation(nation) == []


def test_a_large_nation_is_read_in_good_time() -> None:
    """2,000 shares and projects: checks look things up, and do not search for each of them."""
    organisations = [{"name": f"o{n}", "kind": "sme", "country": "KR", "projects": [f"o{n}-p"]} for n in range(2_000)]
    text = yaml.safe_dump({"organisations": organisations, "shares": [{"name": f"o{n}"} for n in range(2_000)]})
    assert len(nation_from_yaml(text).shares) == 2_000


DATA_LAW = """
assurance_schemes:
  - {name: csap, grades: [low, medium, high], title: {ko: 클라우드 보안인증, en: Cloud assurance}}
data_classes:
  - {name: trade-secret, restricted: true, title: {ko: 영업비밀, en: Trade secret}}
"""
SITE = "    owner: government\n"
ASSURED = "    owner: government\n    assurances: [{scheme: csap, grade: high, valid_to: 2028-01-01T00:00:00+09:00}]\n"
CLASSED = "classes: [trade-secret]\n    assurance: [{scheme: csap, grade: medium}]"


def with_data_law(*replacements: tuple[str, str]) -> str:
    text = NATION.replace(SITE, ASSURED, 1).replace("classes: [national-core-technology]", CLASSED, 1) + DATA_LAW
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def test_what_data_law_asks_for_is_read() -> None:
    more = (
        "size_bytes: 7\n    digest: " + "0a" * 32 + "\n    state_funded: true\n    embargo_until: 2027-01-01T00:00Z\n"
    )
    nation = nation_from_yaml(with_data_law(("    readers: [haneul]\n", "    " + more)))
    assert nation.sites[0].assurances == (Assurance(scheme="csap", grade="high", valid_to_ms=1_830_265_200_000),)
    assert nation.assurance_schemes[0].grades_to("medium") == ("low", "medium")
    assert nation.data_classes == (
        DataClassDefinition(name="trade-secret", restricted=True, title_ko="영업비밀", title_en="Trade secret"),
    )
    dataset = nation.datasets[0]
    assert (dataset.classes, dataset.size_bytes, dataset.digest) == (("trade-secret",), 7, "0a" * 32)
    assert (dataset.state_funded, dataset.embargo_until_ms) == (True, 1_798_761_600_000)
    assert dataset.assurance == (AssuranceNeed(scheme="csap", grade="medium"),)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("classes: [trade-secret]", "classes: [trade-secrets]",
         "datasets[0].classes[0]: neither the law nor this file knows such a class (got trade-secrets); "
         "did you mean trade-secret?"),
        ("name: trade-secret, restricted: true", "name: personal, restricted: false",
         "data_classes[0].name: is a class that the law knows, whose rules are fixed (got personal)"),
        ("restricted: true, ", "", "data_classes[0].restricted: is missing; say whether its data may never be taken"),
        ("restricted: true", "restricted: perhaps", "data_classes[0].restricted: must be true or false (got perhaps)"),
        ("grades: [low, medium, high]", "grades: []", "assurance_schemes[0].grades: a scheme has at least one grade"),
        ("grades: [low, medium, high]", "grades: [low, high, low, medium]",
         "assurance_schemes[0].grades: has a grade twice (got low, high, low, medium); keep one"),
        ("scheme: csap, grade: medium", "scheme: casp, grade: medium",
         "datasets[0].assurance[0].scheme: there is no such scheme (got casp); did you mean csap?"),
        ("scheme: csap, grade: high", "scheme: csap, grade: hihg",
         "sites[0].assurances[0].grade: the scheme csap has no such grade (got hihg); did you mean high?"),
        ("valid_to: 2028", "valid_from: 2029-01-01T00:00Z, valid_to: 2028",
         "sites[0].assurances[0].valid_to: is not after valid_from (got 2028-01-01T00:00:00+09:00); swap the two"),
        ("valid_to: 2028-01-01T00:00:00+09:00", "valid_to: soon",
         "sites[0].assurances[0].valid_to: is not a date and time (got soon)"),
        ("readers: [haneul]", "digest: ABC", "datasets[0].digest: must be 64 hexadecimal digits"),
        ("readers: [haneul]", "size_bytes: 1GB", "datasets[0].size_bytes: must be a whole number (got 1GB)"),
        ("- {name: trade", "- {name: trade-secret, restricted: false}\n  - {name: trade",
         "data_classes[1].name: the class is already at data_classes[0].name (got trade-secret)"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_facts_of_data_law_is_said(old: str, new: str, line: str) -> None:
    found = problems(with_data_law((old, new)))
    assert any(each.startswith(line) for each in found), found
