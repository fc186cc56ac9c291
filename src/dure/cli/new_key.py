"""`dure ledger new-key`: the first step of exchanging the key that a ledger is signed with."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("new-key")
@click.option(
    "--state", metavar="FOLDER", envvar="DURE_STATE", default=".dure", show_default=True, help="State folder."
)
def new_key(state: str) -> None:
    """Make a key that may follow the one the ledger is signed with.

    Nothing is signed with it before two people have agreed on it (`dure proposal key`) and the server was started
    again. Run it on the server's machine: the private half stays in the state folder.
    """
    from dure.cli.errors import BadInput
    from dure.ledger.keys import KeyFileError, create_next_signer, next_path, public_path
    from dure.ledger.opening import LEDGER_KEY_FILE

    path = Path(state) / LEDGER_KEY_FILE
    try:
        signer = create_next_signer(path)
    except FileNotFoundError:
        raise BadInput(f"{path}: no such key\n  Name the server's state folder with --state.") from None
    except (KeyFileError, OSError) as error:
        raise BadInput(str(error)) from None
    click.echo(f"{signer.verifier}\nPropose it with: dure proposal key {public_path(next_path(path))}")
