"""May this be done, here, for this purpose, and by which rule: Cedar questions and answers.

Denied unless a rule permits; any diagnostic is a denial; what is unknown is never allowed. The rules are the `.cedar`
files in `rules/`, each with a title in Korean and English. This room reads no disk: whoever starts the platform hands
the texts in (`PolicySet(schema, policies)`), and binds them to a nation (`PolicyInForce(policy_set, nation)`).
"""

from dure.policy.engine import PolicyError, PolicySet, Rule
from dure.policy.in_force import PermittedSites, PolicyInForce
from dure.policy.questions import NO_PERMIT, POLICY_ERROR, UNKNOWN_FACT, Action, Decision, Question
from dure.policy.sandboxing import must_be_sandboxed

__all__ = [
    "NO_PERMIT",
    "POLICY_ERROR",
    "UNKNOWN_FACT",
    "Action",
    "Decision",
    "PermittedSites",
    "PolicyError",
    "PolicyInForce",
    "PolicySet",
    "Question",
    "Rule",
    "must_be_sandboxed",
]
