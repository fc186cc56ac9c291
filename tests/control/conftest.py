"""Compiled code comes from, and goes to, the same cache as that of the server."""

from dure.bootstrap import prepare_compilation

prepare_compilation()
