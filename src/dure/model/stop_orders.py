"""Stop orders: an authority, or the programme itself, wants a use of data stopped at once.

The Personal Information Protection Commission may order a transfer stopped (Personal Information Protection Act, Korea,
Art. 28-9). An order names a recipient, a country, a dataset, or several of these: it stops what fits all that it names.
"""

from __future__ import annotations

from msgspec import Struct

from dure.model.fleet import Site
from dure.model.organisations import Organisation


class StopOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order as it was issued. What runs against it is over `within_ms` after it was issued."""

    id: str
    within_ms: int
    reason: str
    recipient: str = ""
    """Organisation whose use stops; empty for every one."""
    country: str = ""
    """Where the recipient is established, where its ultimate parent is, or where the site is; empty for everywhere."""
    dataset: str = ""
    """Data whose use stops; empty for every dataset."""

    def hits(self, recipient: Organisation, site: Site, dataset: str) -> bool:
        """True when the order stops this organisation's use of a dataset at this site."""
        return (
            self.recipient in ("", recipient.name)
            and self.country in ("", recipient.country, recipient.parent_country, site.country)
            and self.dataset in ("", dataset)
        )
