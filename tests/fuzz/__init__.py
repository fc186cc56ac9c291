"""Whatever is read from outside is read, or refused with a reason: nothing else comes out, and it takes no time.

Documents that are right are spoilt in ways that people, editors and attackers spoil them, scripts and traces likewise,
and now and then there is only noise. What is read is then used: a value that nobody checked does its harm later.
"""
