"""The only room that knows which real parts are plugged in: ledger, executors, policy texts, control, API and portal.

Nothing here imports the kernel before `prepare_compilation` has said where compiled code is kept, so the imports of
everything that leads to it are inside functions.
"""

from dure.bootstrap.compiling import (
    compile_everything,
    compile_for_server,
    compile_packing,
    compile_twin,
    prepare_compilation,
)
from dure.bootstrap.engines import make_engines
from dure.bootstrap.platform import SystemClock, make_control
from dure.bootstrap.rules import make_policy_set
from dure.bootstrap.serving import Ready, make_application, serve
from dure.bootstrap.snapshots import make_snapshots, take_snapshot
from dure.bootstrap.state import (
    LEDGER_FILE,
    LEDGER_KEY_FILE,
    OPERATOR_FILE,
    SECRETS_KEY_FILE,
    StartError,
    open_ledger,
    prepare_state,
)

__all__ = [
    "LEDGER_FILE",
    "LEDGER_KEY_FILE",
    "OPERATOR_FILE",
    "SECRETS_KEY_FILE",
    "Ready",
    "StartError",
    "SystemClock",
    "compile_everything",
    "compile_for_server",
    "compile_packing",
    "compile_twin",
    "make_application",
    "make_control",
    "make_engines",
    "make_policy_set",
    "make_snapshots",
    "open_ledger",
    "prepare_compilation",
    "prepare_state",
    "serve",
    "take_snapshot",
]
