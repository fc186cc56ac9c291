"""What the page on access says of refusals is what the platform answers with."""

from __future__ import annotations

import re
from pathlib import Path

from dure.api.replies import STATUS
from dure.control.requests import NotDoneCode

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "access.md").read_text()
SOURCES = "".join(path.read_text() for path in (ROOT / "src" / "dure" / "api").glob("*.py"))


def told() -> dict[str, int]:
    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", PAGE, re.M)
    return {code: int(status) for status, codes in rows for code in re.findall(r"`([a-z-]+)`", codes)}


def answered() -> dict[str, int]:
    """Codes with their status, as the source makes problems of them."""
    made = re.findall(r'problem\(\s*(\d{3}),\s*"([a-z-]+)"', SOURCES)
    found = {code: int(status) for status, code in made}
    found |= {code: 401 for code in re.findall(r'_unauthorized\("([a-z-]+)"', SOURCES)}
    found |= {code: 429 for code in re.findall(r'too_many\("([a-z-]+)"', SOURCES)}
    found |= {code: 403 for code in ("role-lacks-permission", "scope-lacks-permission") if code in SOURCES}
    return found | {code.value: STATUS[code] for code in NotDoneCode}


def test_every_code_on_the_page_is_answered_with_that_status() -> None:
    real = answered()
    assert {code: real.get(code) for code in told()} == told()


def test_every_refusal_of_a_credential_is_on_the_page() -> None:
    assert {code for code, status in answered().items() if status in (401, 403, 429)} <= set(told())
