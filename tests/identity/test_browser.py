"""A real browser signs in at a real provider and signs out: what it makes of cookies, policies and redirects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.control.server import ServerProcess
from tests.portal.browser import PROGRAM, browsing

SUBMIT = "document.querySelector('form [type=submit], form button').click()"


@pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
def test_a_browser_signs_in_at_the_provider_and_out_again(server: ServerProcess, tmp_path: Path) -> None:
    with browsing(tmp_path) as page:
        page.open(server.url)
        page.wait_until("document.querySelector('a[href=\"/login/provider\"]')")
        page.evaluate("document.querySelector('a[href=\"/login/provider\"]').click()")
        page.wait_until("document.querySelector('input[name=login]')")
        page.evaluate("document.querySelector('input[name=login]').value = 'ada+hanbit'")
        page.evaluate("document.querySelector('input[name=password]').value = 'any'")
        page.evaluate(SUBMIT)
        page.wait_until("document.body.innerText.includes('scopes') || document.body.innerText.includes('Continue')")
        page.evaluate(SUBMIT)
        page.wait_until("document.querySelector('.reader')?.textContent.includes('Member')")
        assert page.evaluate("document.cookie") == ""
        page.evaluate("document.querySelector('.reader button').click()")
        page.wait_until("document.querySelector('#sign-in-title')")
        assert page.evaluate("location.pathname") == "/"
