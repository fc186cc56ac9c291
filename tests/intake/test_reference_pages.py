"""The reference pages: every example is read, and every field, code and rule is described."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dure.intake.agreements import FIELDS as AGREEMENT_FIELDS
from dure.intake.agreements import terms_from_yaml
from dure.intake.jobfile import FIELDS, job_from_json, job_from_yaml
from dure.intake.nationfile import nation_from_yaml, write_nation
from dure.intake.refusals import RefusalCode
from dure.intake.sbatch import job_from_sbatch
from dure.model.datasets import PURPOSE_WORDING, Purpose

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
JOB_PAGE = (REFERENCE / "job-file.md").read_text(encoding="utf-8")
NATION_PAGE = (REFERENCE / "nation-file.md").read_text(encoding="utf-8")
AGREEMENT_PAGE = (REFERENCE / "agreements.md").read_text(encoding="utf-8")


def examples(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("example", examples(JOB_PAGE, "yaml"))
def test_every_job_file_on_the_page_is_read(example: str) -> None:
    assert job_from_yaml(example).project == "haneul-llm"


@pytest.mark.parametrize("example", examples(JOB_PAGE, "json"))
def test_every_json_job_on_the_page_is_read(example: str) -> None:
    assert job_from_json(example.encode()).nodes == 2


@pytest.mark.parametrize("example", examples(JOB_PAGE, "bash"))
def test_every_batch_script_on_the_page_is_read(example: str) -> None:
    job = job_from_sbatch(example)
    assert (job.spec.nodes, job.spec.cpus, job.spec.gpus[0].milli) == (2, 32, 8000)


@pytest.mark.parametrize("example", examples(NATION_PAGE, "yaml"))
def test_every_nation_on_the_page_is_read_and_written_back(example: str) -> None:
    nation = nation_from_yaml(example)
    assert nation.sites
    assert nation_from_yaml(write_nation(nation)) == nation


@pytest.mark.parametrize("example", examples(AGREEMENT_PAGE, "yaml"))
def test_every_agreement_on_the_page_is_read(example: str) -> None:
    assert terms_from_yaml(example).provider == "samsung"


@pytest.mark.parametrize("field", AGREEMENT_FIELDS)
def test_every_field_of_an_agreement_is_on_the_page(field: str) -> None:
    assert re.search(rf"^\|.*`{field}`.*\|", AGREEMENT_PAGE, re.MULTILINE)


@pytest.mark.parametrize("purpose", Purpose)
def test_every_purpose_is_on_the_page_in_both_languages(purpose: Purpose) -> None:
    wording = PURPOSE_WORDING[purpose]
    assert f"\n| `{purpose.value}` | {wording.ko} | {wording.en} |" in AGREEMENT_PAGE


def test_the_pages_have_examples() -> None:
    assert len(examples(JOB_PAGE, "yaml")) >= 5
    assert examples(NATION_PAGE, "yaml")


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_of_a_job_is_on_the_page(field: str) -> None:
    assert f"\n| `{field}` |" in JOB_PAGE


@pytest.mark.parametrize("code", RefusalCode)
def test_every_refusal_code_is_on_a_page(code: RefusalCode) -> None:
    assert f"| `{code.value}` |" in JOB_PAGE + NATION_PAGE + AGREEMENT_PAGE
