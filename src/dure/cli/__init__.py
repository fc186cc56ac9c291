"""The `dure` command: a thin client of the API, plus what runs on this machine (serve, verify, simulate).

Modules import only click at the top, so that `dure --help` answers at once; what a command needs it imports itself.
"""
