"""Operations on the declared state of the platform."""

from __future__ import annotations

from starlette.responses import Response

from dure.api.bodies import YAML, bad_document, media_type, text_of, unsupported
from dure.api.operations import Call
from dure.api.platform import Platform
from dure.api.replies import done, refused
from dure.control.nations import compare_nation
from dure.control.requests import Answer, ApplyNation
from dure.intake.nationfile import nation_from_yaml, write_nation
from dure.intake.refusals import BadInput, Refusal
from dure.model.nation import Nation
from dure.reports.datasets import visible_nation


async def show(platform: Platform, call: Call) -> Nation | Response:
    """The declared state; as a nation file for those who accept YAML. Others' data is left out."""
    agreements = platform.control.memory.register.agreements.values()
    declared = visible_nation(platform.nation(), agreements, call.caller.viewer)
    if YAML in call.request.headers.get("accept", ""):
        return Response(write_nation(declared), media_type=YAML)
    return declared


async def apply(platform: Platform, call: Call) -> Answer:
    """Make a nation file the declared state, as a whole or not at all. Answers with the difference."""
    if media_type(call) != YAML:
        raise unsupported(media_type(call), (YAML,))
    try:
        wanted = nation_from_yaml(text_of(call))
    except BadInput as bad:
        raise bad_document("The nation file", bad) from None
    if call.flag("dry_run"):
        compared = compare_nation(wanted, platform.world, platform.control.memory.register, platform.clock.now_ms())
        if isinstance(compared, Refusal):
            raise refused(compared)
        return compared
    return done(await platform.ask(ApplyNation(caller=call.caller, nation=wanted)))
