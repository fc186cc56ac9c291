"""Checks decisions with code that did not make them.

The audit keeps its own books from the events alone, in plain Python, and shares nothing with the kernel or its columns.
It judges plans in property tests, in the twin and before every live commit.
"""

from dure.audit.books import Books
from dure.audit.violations import Violation

__all__ = ["Books", "Violation"]
