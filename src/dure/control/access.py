"""Who may ask for what: roles and their permissions, and the caller that a request speaks as.

Everything is denied unless a role's line below grants it, and the token's scope leaves it in.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from dure.reports.viewer import Viewer


class Role(StrEnum):
    """What somebody is in the programme."""

    OPERATOR = "operator"
    AUDITOR = "auditor"
    STEWARD = "steward"
    """Data steward: sees who used, or was refused, which data; approves, stops and releases."""
    ADMINISTRATOR = "administrator"
    """Of one organisation: gives and takes its access."""
    MEMBER = "member"


class Permission(StrEnum):
    """What a request needs. Which jobs, projects and tokens it may then touch is asked again where they are handled."""

    READ = "read"
    AUDIT = "audit"
    SUBMIT = "submit"
    ADMINISTER = "administer"
    GOVERN = "govern"
    """Decide about the use of data: agreements, stop orders, releases, and changes that need two people."""
    AGREE = "agree"
    """Offer, answer and end agreements on data, for one's own organisation or for the programme."""
    OPERATE = "operate"


GRANTS: dict[Role, frozenset[Permission]] = {
    Role.OPERATOR: frozenset(Permission),
    Role.AUDITOR: frozenset({Permission.READ, Permission.AUDIT}),
    Role.STEWARD: frozenset({Permission.READ, Permission.AUDIT, Permission.GOVERN, Permission.AGREE}),
    Role.ADMINISTRATOR: frozenset({Permission.READ, Permission.SUBMIT, Permission.ADMINISTER, Permission.AGREE}),
    Role.MEMBER: frozenset({Permission.READ, Permission.SUBMIT}),
}

ROLES_IN_ORGANISATIONS = frozenset({Role.ADMINISTRATOR, Role.MEMBER})
"""These are always for one organisation; the others are for the whole programme."""


class Grant(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A role, and the organisation it is for."""

    role: Role
    organisation: str = ""

    def __str__(self) -> str:
        return f"{self.role.value} of {self.organisation}" if self.organisation else self.role.value


class Caller(Struct, frozen=True, kw_only=True):
    """Whoever sent a request: the opaque id of the token, its role, and the organisation it speaks for.

    `scope` is what the token was left with of its role; with a `project`, it touches the jobs of no other.
    """

    id: str
    role: Role
    organisation: str = ""
    account: str = ""
    """Opaque id of the person or service; empty for a token that belongs to nobody."""
    scope: frozenset[Permission] = frozenset(Permission)
    project: str = ""

    @property
    def permissions(self) -> frozenset[Permission]:
        """All that the caller may do."""
        return GRANTS[self.role] & self.scope

    def may(self, permission: Permission) -> bool:
        """True when the role grants it and the token's scope leaves it in."""
        return permission in GRANTS[self.role] and permission in self.scope

    def acts_for(self, organisation: str, project: str) -> bool:
        """True when the caller may act for this project of this organisation; operators may for all."""
        if self.project and project != self.project:
            return False
        return self.role is Role.OPERATOR or (bool(organisation) and organisation == self.organisation)

    def governs(self, grant: Grant) -> bool:
        """True when the caller may give this role, see who has it, and take it away.

        An operator may for every role; an organisation's administrator for the roles in that organisation.
        """
        if not self.may(Permission.ADMINISTER):
            return False
        is_own = grant.role in ROLES_IN_ORGANISATIONS and grant.organisation == self.organisation
        return self.role is Role.OPERATOR or (bool(self.organisation) and is_own)

    @property
    def viewer(self) -> Viewer:
        """What the caller sees of other people's jobs."""
        if self.project:
            return Viewer(project=self.project)
        return Viewer(organisation=self.organisation, sees_everything=self.may(Permission.AUDIT))


PLATFORM = Caller(id="platform", role=Role.OPERATOR)
"""The platform itself, for what it does of its own accord."""
