"""Who people are: the identity provider they sign in at, the roles that its groups mean, and passwords for emergencies.

What somebody may then do is said in `dure.control.access`; sessions, cookies and limits are in `dure.api`.
"""
