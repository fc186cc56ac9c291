"""Who is looking, and whose jobs they may see in full."""

from __future__ import annotations

from msgspec import Struct

from dure.model.nation import Nation


class Viewer(Struct, frozen=True, kw_only=True):
    """Someone who reads reports. Operators and auditors see everything; members see their own organisation's jobs.

    Of everyone else's jobs a viewer sees the id, the share, the size and the state: enough to understand the queue,
    nothing about what is computed.
    """

    organisation: str = ""
    sees_everything: bool = False
    project: str = ""
    """The only project whose jobs the viewer sees in full, whatever else is said; any when empty."""

    def may_see(self, nation: Nation, project: str) -> bool:
        """True when this viewer may see the whole of a job of `project`."""
        if self.project:
            return project == self.project
        if self.sees_everything:
            return True
        owner = nation.organisation_of(project)
        return bool(self.organisation) and owner is not None and owner.name == self.organisation


EVERYTHING = Viewer(sees_everything=True)
"""The operator's view."""

PUBLIC = Viewer()
"""The view of somebody who belongs to no organisation: sizes and states only."""
