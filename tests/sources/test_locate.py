"""Where trace files are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from dure.sources.errors import BadSource
from dure.sources.locate import TRACE_FILES, VARIABLE, trace_file, trace_folder


def test_the_named_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert trace_folder() == tmp_path
    assert trace_file("equal") is None
    wanted = tmp_path / TRACE_FILES["equal"]
    wanted.parent.mkdir()
    wanted.write_bytes(b"")
    assert trace_file("equal") == wanted


def test_a_named_folder_that_is_none_is_an_error_and_not_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(BadSource, match=f"{VARIABLE} names .*absent, which is not a folder"):
        trace_folder()
