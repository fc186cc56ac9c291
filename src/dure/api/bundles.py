"""Evidence bundles over HTTP: made when they are asked for, from what is durable, and recorded before they go out."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from dure.api.models import version_in_path
from dure.api.operations import Call
from dure.api.platform import Platform
from dure.api.problems import problem
from dure.api.replies import done
from dure.control.oversight.bundling import proven, subject_of
from dure.control.oversight.citing import cited_entries, recording_entry
from dure.control.oversight.model_requests import RecordEvidence
from dure.evidence.bundle import draft_bundle
from dure.governance.library import shipped_library
from dure.ledger.note import parse_tree_head, split_note

ZIP = "application/zip"
WITNESSES_MAY_TAKE_S = 10.0
LOOK_AGAIN_S = 0.1


async def bundle(platform: Platform, call: Call) -> Response:
    """The evidence of one version, as a ZIP that anybody checks offline."""
    version = version_in_path(platform, call)
    signer = platform.signer
    if signer is None:
        raise problem(503, "no-signing-key", "This server has no key to sign evidence with.")
    await asyncio.to_thread(shipped_library)
    subject = subject_of(version, platform.control.memory, signer.name, platform.clock.now_ms())
    ledger = platform.control.ledger
    register = platform.control.memory.register
    entries = await asyncio.to_thread(cited_entries, version, register, ledger)
    draft = await asyncio.to_thread(draft_bundle, subject, entries, signer)
    done(await platform.ask(RecordEvidence(caller=call.caller, version=version.name, digest=draft.digest)))
    recorded_version = register.models.known(version.name)
    position, recorded = await asyncio.to_thread(recording_entry, recorded_version, draft.digest, ledger)
    note = await _checkpoint_over(position, platform)
    body = await asyncio.to_thread(proven, draft, entries, (position, recorded), note, ledger)
    file = f"{version.name.model}-{version.name.version}.evidence.zip"
    return Response(body, media_type=ZIP, headers={"Content-Disposition": f'attachment; filename="{file}"'})


async def _checkpoint_over(position: int, platform: Platform) -> str:
    """A checkpoint that covers the entry: one that enough witnesses cosigned, where there are witnesses to ask."""
    waited_s = 0.0
    while True:
        note = platform.tiles.checkpoint()
        if note and parse_tree_head(split_note(note)[0]).size > position:
            return note
        if waited_s >= WITNESSES_MAY_TAKE_S:
            message = "Too few witnesses have cosigned the entry that records the bundle; try again later."
            raise problem(503, "not-final-yet", message, headers={"Retry-After": "30"})
        await asyncio.sleep(LOOK_AGAIN_S)
        waited_s += LOOK_AGAIN_S
