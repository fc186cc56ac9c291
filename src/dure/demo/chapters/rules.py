"""Chapter 5: data is used where, by whom and for what its rules allow, and a refusal names the rule."""

from __future__ import annotations

from dure.demo.chapters import jobs
from dure.demo.member import JobDocument, Refused
from dure.demo.story import Proof, Story, Unexpected

FORBIDDEN = 403
CODE = "forbidden-by-policy"


def refuse_by_rule(story: Story) -> Proof:
    """Jobs are refused for who asks, for where the data would have to go, and for what for; one may run."""
    story.teller.say(
        "Samsung's fab data is national core technology. It named two readers: Saessak, and Nordlys Korea, whose "
        "parent is in Norway."
    )
    asked = jobs.study("yield-study", "nordlys-chips", "B200:1", data=["fab-yield"], purpose="research")
    _must_be_refused(story, "nordlys", asked, "national-core-technology")
    allowed = jobs.study("yield-study", "saessak-vision", "B200:1", data=["fab-yield"], purpose="research")
    site = story.members["saessak"].plan(allowed).site
    story.expect("the same job of Saessak may run, at the one site that holds the data", "pyeongtaek", site)
    story.teller.say("With it, Saessak wants to read lung scans that lie at Gwangju. No site may hold both.")
    both = jobs.study("joint-study", "saessak-vision", "B200:1", data=["fab-yield", "lung-scans"], purpose="research")
    _must_be_refused(story, "saessak", both, "data-stays-at-its-sites")
    story.teller.say("Dallae, a small manufacturer, wants to sell what it learns from lung scans held for research.")
    sold = jobs.study("scan-product", "dallae-quality", "H100:1", data=["lung-scans"], purpose="commercial")
    _must_be_refused(story, "dallae", sold, "purpose-limitation")
    return Proof("a refusal names its rule, and is in the ledger", "3 refused, each by another rule")


def _must_be_refused(story: Story, organisation: str, document: JobDocument, rule: str) -> None:
    member = story.members[organisation]
    try:
        job = member.submit(document)
    except Refused as refusal:
        story.teller.say(f"  {member.title} is told:")
        story.teller.quote(str(refusal))
        story.expect(f"{member.title} is refused", (FORBIDDEN, CODE), (refusal.status, refusal.code))
        story.require(f"the refusal names the rule {rule}", rule in str(refusal), rule, str(refusal))
        story.refusals += 1
        return
    raise Unexpected(f"{member.title} is refused", f"{FORBIDDEN} {CODE}", f"accepted as {job}")
