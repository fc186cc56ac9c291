"""Has the ledger's checkpoints cosigned while the platform runs, if a witnesses file was given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dure.bootstrap.state import LEDGER_KEY_FILE, StartError

if TYPE_CHECKING:
    from dure.ledger.contract import Ledger
    from dure.ledger.cosigning import Cosigning
    from dure.ledger.witnesses import Witnesses


def read_witnesses_file(file: Path | None) -> Witnesses | None:
    """Who cosigns, and how many must. Raises `StartError`."""
    if file is None:
        return None
    from dure.ledger.witnesses import WitnessesError, read_witnesses

    try:
        return read_witnesses(file)
    except WitnessesError as error:
        raise StartError(f"the witnesses file cannot be used: {error}") from None
    except OSError as error:
        raise StartError(f"the witnesses file {file} cannot be read ({error.strerror})") from None


def make_cosigning(ledger: Ledger, witnesses: Witnesses | None, state: Path) -> Cosigning | None:
    """What collects cosignatures; None when there are no witnesses."""
    if witnesses is None:
        return None
    from dure.ledger.cosigning import Cosigning
    from dure.ledger.keys import load_signer

    return Cosigning(lambda: ledger, load_signer(state / LEDGER_KEY_FILE).verifier, witnesses, state)


@contextmanager
def collecting(cosigning: Cosigning | None) -> Iterator[None]:
    """Collect for as long as the block runs."""
    if cosigning is None:
        yield
        return
    cosigning.start()
    try:
        yield
    finally:
        cosigning.close()
