"""`dure witness`: run a witness, which keeps the keepers of ledgers from rewriting history."""

from __future__ import annotations

from pathlib import Path

import click

_FOLDER = click.option(
    "--state", metavar="FOLDER", default=".dure-witness", show_default=True, help="Folder with key and memory."
)


@click.group()
def witness() -> None:
    """Run a witness, which cosigns a ledger's checkpoints as long as the ledger only grows."""


@witness.command("init")
@click.argument("name")
@_FOLDER
def init(name: str, state: str) -> None:
    """Make the key of the witness NAME, like `regulator.example/witness`, and print its public half.

    Operators put that line into the file that they name with `dure up --witnesses`.
    """
    from dure.cli.errors import BadInput
    from dure.ledger.keys import KeyFileError, create_witness_signer
    from dure.ledger.note import NoteError
    from dure.witness.serving import KEY_FILE

    folder = Path(state)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        signer = create_witness_signer(folder / KEY_FILE, name)
    except (NoteError, KeyFileError, OSError) as error:
        raise BadInput(str(error)) from None
    click.echo(str(signer.verifier))


@witness.command()
@click.option(
    "--log", "logs", metavar="FILE", multiple=True, required=True, help="Public key file of a ledger; repeatable."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7480, show_default=True, help="Port; 0 takes a free one."
)
@_FOLDER
def serve(logs: tuple[str, ...], host: str, port: int, state: str) -> None:
    """Cosign checkpoints of the ledgers whose public keys are given, until stopped.

    What was cosigned last is kept in the folder. Never put back an older copy of it: the witness would sign twice.
    """
    from dure.bootstrap.listening import listen, name_of
    from dure.bootstrap.state import StartError
    from dure.cli.errors import BadInput
    from dure.cli.ledger import load_key
    from dure.ledger.keys import KeyFileError
    from dure.witness.serving import serve_witness

    keys = [load_key(Path(file)) for file in logs]
    try:
        with listen(host, port) as listener:
            url = f"http://{name_of(listener)}"
            serve_witness(
                Path(state),
                {key.name: key for key in keys},
                listener,
                lambda key: click.echo(f"The witness {key} serves at {url}"),
            )
    except FileNotFoundError:
        raise BadInput(f"{state}: there is no witness here; make one with `dure witness init`") from None
    except (KeyFileError, StartError) as error:
        raise BadInput(str(error)) from None
