"""The engines file: what it says, and what is said about one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from dure.executors.contract import ExecutorError
from dure.executors.engines_file import read_engines_file
from dure.executors.local.environment import Terms
from dure.executors.ray.site import RaySite
from dure.executors.slurm.site import PlacedBy, SlurmSite


def written(folder: Path, text: str) -> Path:
    path = folder / "engines.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_site_says_how_its_engine_is_reached(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        sites:
          seoul:
            engine: slurm
            work_folder: /shared/dure
            placement: node
            poll_interval_s: 2.5
            nodes: {h100: "gpu[001-064]"}
        """,
    )
    site = read_engines_file(path)["seoul"]
    assert isinstance(site, SlurmSite)
    assert site.placement is PlacedBy.NODE
    assert site.poll_interval_s == 2.5
    assert site.nodes == {"h100": "gpu[001-064]"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sites: {seoul: {engine: slurm}}", "site seoul: Object missing required field `work_folder`"),
        ("sites: {seoul: {engine: slurm, work_folder: /w, colour: red}}", "unknown field `colour`"),
        ("sites: {seoul: {engine: slurm, work_folder: /w, poll_interval_s: soon}}", "poll_interval_s"),
        ("sites: {seoul: {engine: pbs}}", "engine is 'pbs'; it must be one of slurm"),
        ("sites: {seoul: {work_folder: /w}}", "engine is None"),
        ("sites: {seoul: slurm}", "write its fields"),
        ("engines: {}", "must have one field, `sites`"),
        ("sites: [", "is not readable"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ExecutorError, match=r"engines\.yaml") as raised:
        read_engines_file(written(tmp_path, text))
    assert said in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="cannot be read: No such file"):
        read_engines_file(tmp_path / "engines.yaml")


def test_a_site_with_ray_is_read(tmp_path: Path) -> None:
    text = """
sites:
  daejeon: {engine: ray, address: "http://ray:8265", work_folder: /shared/dure, trust_domain: [hanbit], spread: false}
"""
    site = read_engines_file(written(tmp_path, text))["daejeon"]
    assert isinstance(site, RaySite)
    assert (site.address, site.trust_domain, site.spread) == ("http://ray:8265", ("hanbit",), False)


def test_a_ray_cluster_without_a_trust_domain_is_refused(tmp_path: Path) -> None:
    text = 'sites:\n  daejeon: {engine: ray, address: "http://ray:8265", work_folder: /shared/dure}\n'
    with pytest.raises(ExecutorError, match="trust_domain"):
        read_engines_file(written(tmp_path, text))


def test_what_holds_for_local_jobs_may_be_said_once(tmp_path: Path) -> None:
    text = "sites:\n  seoul: {engine: local, log_bytes: 1000, shown_in_sandboxes: [/shared/tools]}\n"
    assert read_engines_file(written(tmp_path, text)) == {
        "seoul": Terms(log_bytes=1000, shown_in_sandboxes=("/shared/tools",))
    }
    with pytest.raises(ExecutorError, match="only one of them"):
        read_engines_file(written(tmp_path, text + "  busan: {engine: local}\n"))
    with pytest.raises(ExecutorError, match="log_byte"):
        read_engines_file(written(tmp_path, "sites:\n  seoul: {engine: local, log_byte: 1}\n"))
