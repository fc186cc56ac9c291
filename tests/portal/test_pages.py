"""The pages of a real server, as a browser gets them, and in a real browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from tests.portal.browser import PROGRAM, browsing
from tests.transcripts.platform import FILES, Platform, running_platform

WITH_BROWSER = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform with one job that failed, one that runs and one that waits, of three organisations."""
    folder = tmp_path_factory.mktemp("platform")
    shutil.copy(FILES / "nation.yaml", folder)
    with running_platform(folder) as platform:
        platform.dure("apply", "-f", "nation.yaml")
        submit(platform, "kaist-protein", "<b>bold</b> & 'quoted'", gpus="H100:1", command="echo '<i>raw</i>'; exit 3")
        platform.wait_for("j1", "failed")
        submit(
            platform,
            "hanbit-llm",
            "pretrain",
            gpus="H100:3",
            nodes="2",
            command="echo secret-$NODE_RANK; exec tail -f /dev/null",
        )
        platform.wait_for("j2", "running")
        submit(platform, "saessak-vision", "vision-train", gpus="H100:4", command="[true]")
        yield platform


def submit(platform: Platform, project: str, name: str, **fields: str) -> None:
    lines = [f"project: {project}", f'name: "{name}"', *(f"{key}: {value}" for key, value in fields.items())]
    path = platform.folder / "job.yaml"
    path.write_text("\n".join(lines) + "\n")
    platform.dure("submit", str(path))


@pytest.fixture
def operator(platform: Platform) -> Iterator[httpx.Client]:
    """A browser's session, made by a one-time link."""
    with httpx.Client(base_url=platform.url, follow_redirects=True, trust_env=False) as client:
        assert client.get(platform.dure("token", "link").strip()).status_code == 200
        yield client


def member(platform: Platform, organisation: str) -> httpx.Client:
    token = platform.dure("token", "create", "--role", "member", "--organisation", organisation).strip()
    return httpx.Client(base_url=platform.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)


class Outline(HTMLParser):
    """What a page would load or run by itself, and how it is built."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.headers_without_scope = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.inline += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        self.inline += [tag] if tag == "style" or (tag == "script" and "src" not in given) else []
        self.loads += [str(given[name]) for name in ("src", "href") if name in given and tag != "a"]
        self.headers_without_scope += tag == "th" and "scope" not in given


PAGES = ["/", "/?lang=ko", "/data", "/data?lang=ko", "/jobs/j1", "/jobs/j2?rank=1", "/jobs/j3?lang=ko", "/jobs/none"]


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_only_their_own_files_and_run_nothing_inline(operator: httpx.Client, path: str) -> None:
    answer = operator.get(path)
    outline = Outline(answer.text)
    assert all(each.startswith("/assets/") for each in outline.loads), outline.loads
    assert outline.inline == []
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", PAGES)
def test_pages_have_landmarks_headings_and_table_headers(operator: httpx.Client, path: str) -> None:
    outline = Outline(operator.get(path).text)
    assert outline.tags.count("main") == outline.tags.count("header") == 1
    assert outline.headers_without_scope == 0
    assert len(outline.ids) == len(set(outline.ids))


def test_every_asset_that_pages_name_is_served(operator: httpx.Client) -> None:
    for path in set(Outline(operator.get("/").text).loads):
        assert operator.get(path).status_code == 200


@pytest.mark.parametrize("name", ["nothing.css", "..%2froutes.py", "words%2fen.json", "%00"])
def test_nothing_but_assets_is_served_as_one(operator: httpx.Client, name: str) -> None:
    assert operator.get(f"/assets/{name}").status_code == 404


@pytest.mark.parametrize("path", ["/", "/data", "/jobs/j1", "/jobs/none", "/changes"])
def test_whoever_is_not_signed_in_sees_nothing(platform: Platform, path: str) -> None:
    answer = httpx.get(platform.url + path, trust_env=False)
    assert answer.status_code == 401
    assert "kaist" not in answer.text
    assert "j1" not in answer.text.replace(path, "")


def test_a_sign_in_link_works_once(platform: Platform) -> None:
    link = platform.dure("token", "link").strip()
    assert [
        httpx.get(link, follow_redirects=False, trust_env=False).headers.get("set-cookie") is None for _ in "ab"
    ] == [
        False,
        True,
    ]


def test_the_overview_shows_fleet_shares_queue_and_ledger(operator: httpx.Client) -> None:
    text = operator.get("/?lang=en").text
    for said in (
        "Gwangju National AI Centre",
        "6 of 8 GPUs in use",
        "pretrain",
        "vision-train",
        "Merkle root",
        "exit code 3",
    ):
        assert said in text
    assert re.search(r"Not enough free GPUs \(2 H100 short\)", text)


def test_both_languages_show_the_same_jobs(operator: httpx.Client) -> None:
    korean, english = operator.get("/?lang=ko").text, operator.get("/?lang=en").text
    assert '<html lang="ko">' in korean
    assert '<html lang="en">' in english
    assert "빈 GPU가 모자람 (2 H100 부족)" in korean
    assert re.findall(r'href="/jobs/(\w+)"', korean) == re.findall(r'href="/jobs/(\w+)"', english)


def test_a_korean_job_page_has_no_english_sentence(operator: httpx.Client) -> None:
    running, waiting = (operator.get(f"/jobs/{job}?lang=ko").text for job in ("j2", "j3"))
    assert "제출됨" in running
    assert "1차 시도 · 광주 국가AI센터" in running
    assert "2 H100만큼 더 비어야 합니다." in waiting
    for page in (running, waiting):
        shown = unescape(re.sub(r"<pre.*?</pre>|<dd class=\"id.*?</dd>|<[^>]*>", " ", page, flags=re.DOTALL))
        assert re.findall(r"\b[a-z]+ [a-z]+\b", shown) == []


def test_a_waiting_job_says_its_place_and_when_it_is_expected_to_start(operator: httpx.Client) -> None:
    english, korean = (operator.get(f"/jobs/j3?lang={language}").text for language in ("en", "ko"))
    assert "Number 1 in its queue" in english
    assert re.search(r"Expected start: <strong>in \d+ .+ to in \d+ .+</strong>", english)
    assert "Latest: every job uses its whole time limit." in english
    assert "대기열 1번째" in korean
    assert re.search(r"예상 시작: <strong>.+ 뒤에서 .+ 뒤 사이</strong>", korean)


def test_an_english_job_page_has_no_korean_sentence(operator: httpx.Client) -> None:
    text = operator.get("/jobs/j2?lang=en").text.replace("한국어", "")
    assert "attempt 1 at Gwangju National AI Centre" in text
    assert re.findall("[가-힣]+", text) == []


def test_what_was_lent_is_drawn_and_listed_in_both_languages(platform: Platform, operator: httpx.Client) -> None:
    submit(platform, "saessak-vision", "borrows", gpus="B200:2", command="exec tail -f /dev/null")
    job = json.loads(platform.dure("queue", "--json"))["running"][-1]["job"]
    platform.wait_for(job, "running")
    korean, english = operator.get("/?lang=ko").text, operator.get("/?lang=en").text
    platform.dure("cancel", job)
    assert "네이버클라우드 → 새싹: B200" in korean
    assert "Naver Cloud lent Saessak" in english
    for text in (korean, english):
        part = text[text.index('<section id="lending"') : text.index('<section id="ledger"')]
        assert len(re.findall('class="ribbon', part)) == 1
        assert part.count("<tr>") == 2


def test_members_see_only_what_their_own_organisation_lent_or_borrowed(platform: Platform) -> None:
    with member(platform, "kaist") as client:
        assert "Nothing was lent in the last 30 days" in client.get("/?lang=en").text


def test_a_chosen_language_is_remembered(platform: Platform, operator: httpx.Client) -> None:
    operator.get("/?lang=ko")
    assert '<html lang="ko">' in operator.get("/jobs/j1").text


def test_what_users_write_is_shown_and_not_obeyed(operator: httpx.Client) -> None:
    text = operator.get("/jobs/j1").text
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; &#39;quoted&#39;" in text
    assert "&lt;i&gt;raw&lt;/i&gt;" in text
    assert "<b>bold" not in text
    assert "<i>raw" not in text


def test_members_see_other_jobs_only_by_size(platform: Platform) -> None:
    with member(platform, "saessak") as client:
        overview, job = client.get("/?lang=en").text, client.get("/jobs/j2?lang=en").text
    assert "vision-train" in overview
    for text in (overview, job):
        assert "j2" in text
        assert "pretrain" not in text
        assert "hanbit-llm" not in text
        assert "secret-0" not in text
    assert "belongs to another organisation" in job


def test_a_gang_shows_the_output_of_the_rank_asked_for(operator: httpx.Client) -> None:
    assert "secret-0" in operator.get("/jobs/j2").text
    assert "secret-1" in operator.get("/jobs/j2?rank=1").text
    assert "secret-0" in operator.get("/jobs/j2?rank=99").text


def test_a_missing_job_is_said_so(operator: httpx.Client) -> None:
    answer = operator.get("/jobs/j999?lang=en")
    assert (answer.status_code, "No such job" in answer.text) == (404, True)


def test_the_stream_of_changes_ticks_at_once_and_at_every_change(platform: Platform, operator: httpx.Client) -> None:
    with operator.stream("GET", "/changes") as stream:
        events = (line for line in stream.iter_lines() if line.startswith("event:"))
        assert next(events) == "event: changed"
        assert next(events) == "event: changed"
        platform.dure("nodes", "drain", "cc-0000")
        submit(platform, "naver-search", "waits-for-the-drained", gpus="B200:1", command="[true]")
        assert next(events) == "event: changed"
    platform.dure("nodes", "resume", "cc-0000")


@WITH_BROWSER
def test_an_open_page_follows_what_happens_without_being_loaded_again(platform: Platform, tmp_path: Path) -> None:
    with browsing(tmp_path) as page:
        page.open(platform.dure("token", "link").strip())
        page.wait_until("document.querySelector('#live')?.textContent === document.body.dataset.live")
        page.evaluate("window.sameDocument = true")
        submit(platform, "kaist-protein", "seen-live", gpus="H100:1", command="[true]")
        page.wait_until("document.querySelector('#finished').textContent.includes('seen-live')")
        assert page.evaluate("window.sameDocument") is True
        assert page.complaints == []


@WITH_BROWSER
def test_an_open_job_page_follows_the_output(platform: Platform, tmp_path: Path) -> None:
    go = platform.folder / "go"
    command = f"echo before; until test -e {go}; do read -t 0.1 <> <(:) || true; done; echo after"
    submit(platform, "kaist-protein", "talks", command=command)
    job = max(
        (int(found) for found in re.findall(r"^j(\d+)", platform.dure("queue", "--all"), re.MULTILINE)), default=0
    )
    with browsing(tmp_path) as page:
        page.open(platform.dure("token", "link").strip())
        page.wait_until("document.querySelector('#live')")
        page.open(f"{platform.url}/jobs/j{job}")
        page.wait_until("document.querySelector('#log')?.textContent.includes('before')")
        assert "after" not in page.evaluate("document.querySelector('#log').textContent")
        go.touch()
        page.wait_until("document.querySelector('#log').textContent.includes('after')")
        page.wait_until("document.querySelector('#job .state-succeeded')")
        assert page.evaluate("document.querySelector('#log').textContent.split('before').length") == 2
        assert page.complaints == []


def test_the_data_page_shows_what_the_reader_may_know_of_in_both_languages(
    platform: Platform, operator: httpx.Client
) -> None:
    offer = """
provider: naver
recipient: hanbit
datasets: [open-corpus]
purposes: [research]
operations: [compute, view-results]
sites: [gwangju]
from: 2026-01-01T00:00Z
until: 2099-01-01T00:00Z
"""
    (platform.folder / "offer.yaml").write_text(offer)
    platform.dure("agreement", "offer", "-f", "offer.yaml")
    korean, english = operator.get("/data?lang=ko").text, operator.get("/data?lang=en").text
    assert "a1" in english
    assert "has to answer version 1" in english
    assert "view results" in english
    assert "답을 기다림 (제1안)" in korean
    assert "결과 열람" in korean
    with member(platform, "saessak") as outsider:
        text = outsider.get("/data?lang=en").text
        assert "open-corpus" in text
        assert "You are a party to no agreement." in text


def test_the_rules_about_data_are_told_with_what_would_help(operator: httpx.Client) -> None:
    korean, english = operator.get("/data?lang=ko").text, operator.get("/data?lang=en").text
    assert "Data under embargo may be read only by its owner" in english
    assert "Wait until the embargo is over" in english
    assert "공개 시점 전의 데이터는 소유 기관만 읽을 수 있다" in korean
    assert "국가핵심기술" in korean
