"""The policies that can be compared, one file each. A live platform always runs `dure`."""

from dure.kernel.policies.bestfit import BEST_FIT
from dure.kernel.policies.conservative import CONSERVATIVE
from dure.kernel.policies.dure import DURE
from dure.kernel.policies.fair_share import FAIR_SHARE
from dure.kernel.policies.fgd import FGD
from dure.kernel.policies.fifo import FIFO
from dure.kernel.policies.policy import Lending, Order, Placement, Policy
from dure.kernel.policies.priority_backfill import PRIORITY_BACKFILL
from dure.kernel.policies.silo import SILO
from dure.kernel.policies.sjf import SJF

POLICIES = {
    each.name: each for each in (FIFO, SJF, SILO, PRIORITY_BACKFILL, CONSERVATIVE, FAIR_SHARE, BEST_FIT, FGD, DURE)
}

__all__ = ["POLICIES", "Lending", "Order", "Placement", "Policy"]
