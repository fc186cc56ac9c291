"""Parts of GPUs: what a nation offers, what a job may ask for, and what cannot be withdrawn."""

from __future__ import annotations

from typing import Any

import pytest

from dure.intake.jobfile import job_from_document
from dure.intake.nation_changes import difference, refuse_nation_change
from dure.intake.nation_index import NationIndex
from dure.intake.nationfile import nation_from_yaml, write_nation
from dure.intake.refusals import BadInput, Refusal, RefusalCode
from dure.intake.submission import accept_job
from dure.model.events import JobSubmitted, NationApplied, encode
from dure.model.fleet import ANY_PART, GpuClass, PartsOffered
from dure.model.jobs import GpuRequest, JobState
from dure.model.nation import Nation
from dure.policy import PolicyInForce
from dure.world.cards import JobCard
from tests.intake.conftest import NATION, policy_set

POLICY = policy_set()
PLAIN = "gpu_classes: {H100: {exchange: 1.0}, B200: {exchange: 2.2}}"


def offering(h100: str, b200: str = "exchange: 2.2", name: str = "H100") -> str:
    """The nation with these words about its classes, where everybody lends B200s."""
    declared = NATION.replace(PLAIN, f"gpu_classes: {{H100: {{{h100}}}, B200: {{{b200}}}}}")
    return declared.replace(", lend: {B200: 0}", "").replace("H100", name)


def h100(offers: str) -> GpuClass:
    return nation_from_yaml(offering(offers)).gpu_classes[0]


def problems(offers: str, name: str = "H100") -> list[str]:
    with pytest.raises(BadInput) as caught:
        nation_from_yaml(offering(offers, name=name))
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("offers", "given", "withheld"),
    [
        ("", [1, 333, 500, 999], []),
        ("fractions: {step: 0.1}", [100, 500, 900], [50, 333, 999]),
        ("fractions: [0.25, 0.5]", [250, 500], [100, 750]),
        ("fractions: []", [], [1, 500, 999]),
    ],
)
def test_a_class_says_which_parts_it_offers(offers: str, given: list[int], withheld: list[int]) -> None:
    parts = h100(offers).parts
    assert all(parts.include(milli) for milli in given)
    assert not any(parts.include(milli) for milli in withheld)


def test_mig_profiles_are_kept_with_their_places_smallest_first() -> None:
    profiles = h100("mig: [7g.80gb, 1g.10gb, 3g.40gb]").mig
    assert [(each.name, each.milli, each.starts) for each in profiles] == [
        ("1g.10gb", 125, (0, 1, 2, 3, 4, 5, 6)),
        ("3g.40gb", 500, (0, 4)),
        ("7g.80gb", 1000, (0,)),
    ]


@pytest.mark.parametrize(
    ("name", "smallest"),
    [("H100-SXM", "1g.10gb"), ("h200", "1g.18gb"), ("A100-80GB", "1g.10gb"), ("A100", "1g.5gb"), ("GB200", "2g.47gb")],
)
def test_a_class_is_called_after_its_board(name: str, smallest: str) -> None:
    declared = nation_from_yaml(offering(f"mig: [{smallest}]", name=name))
    assert [each.name for each in declared.gpu_classes[0].mig] == [smallest]


@pytest.mark.parametrize(
    ("offers", "name", "message"),
    [
        ("fractions: {step: 1}", "H100", "gpu_classes.H100.fractions.step: must be more than 0 and less than 1 GPU"),
        ("fractions: {step: 0}", "H100", "gpu_classes.H100.fractions.step: must be more than 0 and less than 1 GPU"),
        ("fractions: {}", "H100", "gpu_classes.H100.fractions.step: is missing; write {step: 0.1}"),
        ("fractions: 0.5", "H100", "gpu_classes.H100.fractions: must be a mapping"),
        ("fractions: [0.5, 2]", "H100", "gpu_classes.H100.fractions[1]: must be more than 0 and less than 1 GPU"),
        ("fractions: [half]", "H100", "gpu_classes.H100.fractions[0]: is not a number of GPUs (got half)"),
        ("mig: 3g.40gb", "H100", "gpu_classes.H100.mig: must be a list (got 3g.40gb)"),
        (
            "mig: [3g.41gb]",
            "H100",
            "gpu_classes.H100.mig: H100 has no such MIG profile (got 3g.41gb); did you mean 3g.40gb",
        ),
        ("mig: [1g.10gb]", "L40S", "gpu_classes.L40S.mig: no MIG profiles are known for this class (got L40S); call"),
        (
            "mig: [1g.10gb]",
            "A100",
            "could be of more than one board (got 1g.10gb); call the class A100-40GB or A100-80GB",
        ),
        (
            "mig: [1g.5gb, 7g.80gb]",
            "A100",
            "are not of one board (got 1g.5gb, 7g.80gb); call the class A100-40GB or A100-80",
        ),
    ],
)
def test_what_cannot_be_offered_is_refused_where_it_stands(offers: str, name: str, message: str) -> None:
    assert any(message in each for each in problems(offers, name)), problems(offers, name)


@pytest.mark.parametrize(
    "offers",
    ["", "fractions: {step: 0.1}", "fractions: [0.25, 0.5]", "fractions: []", "mig: [1g.10gb, 3g.40gb], fractions: []"],
)
def test_what_is_offered_is_written_back_and_read_again(offers: str) -> None:
    declared = nation_from_yaml(offering(offers))
    assert nation_from_yaml(write_nation(declared)) == declared


def test_a_nation_that_does_not_say_keeps_the_bytes_it_had() -> None:
    for text in (NATION, offering("fractions: {step: 0.001}")):
        entry = encode(NationApplied(at_ms=0, by="p", nation=nation_from_yaml(text)))
        assert b"parts" not in entry
        assert b"mig" not in entry
    assert nation_from_yaml(NATION).gpu_classes[0].parts is ANY_PART


def test_a_change_of_what_is_offered_is_told() -> None:
    old = nation_from_yaml(offering(""))
    new = nation_from_yaml(offering("fractions: {step: 0.25}, mig: [1g.10gb]"))
    assert [str(each) for each in difference(old, new)] == [
        "~ GPU class H100 fractions: any part -> multiples of 0.25",
        "~ GPU class H100 MIG: (none) -> 1g.10gb",
    ]


# What jobs ask for.


def submit(declared: Nation, **fields: Any) -> JobSubmitted | Refusal:
    document = {"name": "train", "project": "haneul-llm", "command": "true", **fields}
    return accept_job(
        job_from_document(document),
        nation=NationIndex(declared),
        policy=PolicyInForce(POLICY, declared),
        by="person-1",
        principal_organisation="haneul",
        known_jobs={},
        job_id="j1",
        at_ms=0,
        commitment="",
    )


def refused(declared: Nation, **fields: Any) -> Refusal:
    answer = submit(declared, **fields)
    assert isinstance(answer, Refusal), answer
    return answer


def accepted(declared: Nation, **fields: Any) -> JobSubmitted:
    answer = submit(declared, **fields)
    assert not isinstance(answer, Refusal), answer.message
    return answer


CUT = nation_from_yaml(offering("fractions: {step: 0.25}, mig: [1g.10gb, 3g.40gb]", "mig: [2g.45gb, 3g.90gb]"))


@pytest.mark.parametrize("written", ["H100:3g.40gb", "h100:3G.40GB"])
def test_a_slice_is_asked_for_by_name_and_counts_its_memory(written: str) -> None:
    event = accepted(CUT, gpus=written)
    assert (event.gpus, event.mig) == ((("H100", 500),), ("3g.40gb",))


def test_a_slice_of_any_class_is_one_of_those_that_offer_it() -> None:
    event = accepted(CUT, gpus="3g.90gb")
    assert (event.gpus, event.mig) == ((("B200", 500),), ("3g.90gb",))


def test_slices_of_one_size_may_be_of_several_classes() -> None:
    event = accepted(CUT, gpus=["H100:3g.40gb", "B200:3g.90gb"])
    assert (event.gpus, event.mig) == ((("H100", 500), ("B200", 500)), ("3g.40gb", "3g.90gb"))


@pytest.mark.parametrize(
    ("gpus", "code", "says"),
    [
        (
            "H100:0.3",
            RefusalCode.FRACTION_NOT_OFFERED,
            "H100:0.3 is a part of a GPU that is not offered; H100 offers mul",
        ),
        (
            "H100:2g.20gb",
            RefusalCode.FRACTION_NOT_OFFERED,
            "does not offer MIG profile 2g.20gb; it offers 1g.10gb, 3g.40",
        ),
        ("7g.80gb", RefusalCode.FRACTION_NOT_OFFERED, "H100 does not offer MIG profile 7g.80gb"),
        (
            ["H100:3g.40gb", "B200:2g.45gb"],
            RefusalCode.SLICES_DIFFER,
            "H100:3g.40gb and B200:2g.45gb are slices of diff",
        ),
    ],
)
def test_a_fraction_that_is_not_offered_is_refused_with_what_is(gpus: Any, code: RefusalCode, says: str) -> None:
    answer = refused(CUT, gpus=gpus)
    assert (answer.code, answer.field) == (code, "gpus")
    assert says in answer.message


def test_a_choice_that_is_not_offered_is_dropped() -> None:
    event = accepted(CUT, gpus=["H100:0.3", "B200:0.3"])
    assert event.gpus == (("B200", 300),)


def test_a_nation_that_does_not_say_offers_every_part_and_no_slice() -> None:
    plain = nation_from_yaml(NATION)
    assert accepted(plain, gpus="H100:0.123").gpus == (("H100", 123),)
    assert "it offers none at all" in refused(plain, gpus="H100:1g.10gb").message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gpus": "H100:3g.40gb", "nodes": 2}, "gpus: part of a GPU cannot be asked for on more than one node"),
        ({"gpus": ["H100:4", "B200:2"]}, "gpus: must ask for as much of each class (got a list); ask for the same"),
        (
            {"gpus": ["H100:1g.10gb", "B200:1"]},
            "gpus: must ask for as much of each class (got a list); ask for the same",
        ),
        ({"gpus": "H100:3g.40gb:2"}, "gpus: is not a number of GPUs (got H100:3g.40gb:2)"),
        ({"gpus": "H100:3g"}, "gpus: is not a number of GPUs (got H100:3g)"),
    ],
)
def test_a_fraction_that_makes_no_sense_is_refused_where_it_stands(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        job_from_document({"name": "x", "project": "haneul-llm", "command": "true", **fields})
    assert message in str(caught.value)


def test_a_slice_is_read_without_knowing_what_it_counts() -> None:
    spec = job_from_document({"name": "x", "project": "p", "command": "true", "gpus": "1g.10gb"})
    assert spec.gpus == (GpuRequest(gpu_class="", milli=0, profile="1g.10gb"),)
    assert spec.cpus == 0


# What cannot be withdrawn.


def running(**fields: Any) -> list[JobCard]:
    event = accepted(CUT, **fields)
    return [JobCard(job="j1", submitted=event, row=0, state=JobState.RUNNING)]


def test_a_fraction_stays_offered_until_its_jobs_are_over() -> None:
    for gpus, offers in (("H100:3g.40gb", "mig: [1g.10gb]"), ("H100:0.25", "fractions: [0.5]")):
        less = nation_from_yaml(offering(offers))
        answer = refuse_nation_change(CUT, less, running(gpus=gpus))
        assert answer is not None
        assert (answer.code, answer.field) == (RefusalCode.FRACTION_IN_USE, "gpu_classes.H100")
        assert f"{gpus} cannot be withdrawn or changed while in use by j1" in answer.message
        assert refuse_nation_change(CUT, less, []) is None


def test_more_may_be_offered_at_any_time() -> None:
    more = nation_from_yaml(offering("mig: [1g.10gb, 2g.20gb, 3g.40gb]", "mig: [3g.90gb]"))
    assert refuse_nation_change(CUT, more, running(gpus="H100:3g.40gb")) is None
    assert refuse_nation_change(CUT, more, running(gpus="H100:0.25")) is None


def test_sizes_are_listed_once_and_in_order() -> None:
    assert h100("fractions: [0.5, 0.25, 0.5]").parts == PartsOffered(step_milli=0, sizes_milli=(250, 500))
