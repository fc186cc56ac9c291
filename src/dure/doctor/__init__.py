"""Finds the usual mis-set-ups, on this machine and of a server, and says what to do about each.

It only looks: it writes nothing, takes no lock and starts nothing, so it may run beside a server. Each module is about
one thing that can be wrong; `dure.cli.doctor` has the order.
"""
