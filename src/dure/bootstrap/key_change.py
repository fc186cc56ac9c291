"""The ledger's key is exchanged when a server starts, once two people have approved the new one.

The first entry under the new key says so, and holds the last checkpoint of the former. Only then do the files change
their places; a crash before that is made good at the next start (`dure.ledger.opening`).
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dure.bootstrap.state import LEDGER_KEY_FILE, StartError

if TYPE_CHECKING:
    from dure.control.control import Control

log = logging.getLogger(__name__)


def change_key_if_approved(state: Path, control: Control) -> None:
    """Have the ledger signed with the key that was approved, if its private half is here. Raises `StartError`."""
    from dure.ledger.contract import LedgerError
    from dure.ledger.keys import KeyFileError, install_next, load_next_signer, load_signer
    from dure.model.events import encode_all
    from dure.model.oversight import KeyChanged

    approved, latest = control.memory.register.approved_key, control.ledger.latest_checkpoint()
    if not approved or latest is None:
        return
    path = state / LEDGER_KEY_FILE
    try:
        following, former = load_next_signer(path), load_signer(path).verifier
        if str(following.verifier) != approved:
            raise KeyFileError(f"the next key in {state} is another one")
    except (FileNotFoundError, KeyFileError) as error:
        log.error("the ledger is to be signed with %s and is not yet: %s", approved, error)
        return
    at_ms = max(time.time_ns() // 1_000_000, control.memory.history.latest_ms)
    event = KeyChanged(at_ms=at_ms, key=approved, former=str(former), checkpoint=latest.note)
    control.ledger.sign_with(following)
    try:
        control.ledger.append(control.ledger.size, encode_all([event]), [], at_ms)
        install_next(path)
        control.rebuild()
    except (LedgerError, KeyFileError, OSError) as error:
        raise StartError(f"the ledger's key could not be changed: {error}") from None
    log.warning("the ledger is signed with %s from entry %d on", approved, control.ledger.size - 1)
