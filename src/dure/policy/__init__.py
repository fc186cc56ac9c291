"""May this be done, here, for this purpose, and by which rule: Cedar questions and answers.

Denied unless a rule permits; any diagnostic is a denial and an alarm; what is unknown is never allowed. The rules are
the `.cedar` files in `rules/`, each with a title and a remedy in Korean and English; a programme adds its own. This
room reads no disk: whoever starts the platform hands the texts in (`PolicySet`, and `with_own` of it), and binds them
to a nation, its agreements and its stop orders as of one moment (`PolicyInForce`).
"""

from dure.policy.engine import Alarm, PolicyError, PolicySet
from dure.policy.in_force import PolicyInForce
from dure.policy.questions import (
    NO_PERMIT,
    POLICY_ERROR,
    UNKNOWN_FACT,
    Action,
    Decision,
    PermittedSites,
    Question,
)
from dure.policy.remedies import AgreementNeeded, Remedy
from dure.policy.rule import Rule
from dure.policy.sandboxing import must_be_sandboxed
from dure.policy.wording import remedy_said

__all__ = [
    "NO_PERMIT",
    "POLICY_ERROR",
    "UNKNOWN_FACT",
    "Action",
    "AgreementNeeded",
    "Alarm",
    "Decision",
    "PermittedSites",
    "PolicyError",
    "PolicyInForce",
    "PolicySet",
    "Question",
    "Remedy",
    "Rule",
    "must_be_sandboxed",
    "remedy_said",
]
