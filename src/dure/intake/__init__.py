"""Requests in; values, or a coded refusal, out. Nothing here reads a file, a clock or the wire.

Two kinds of no. `BadInput` is raised when a document cannot mean anything (a typing mistake, an absurd size): it lists
every problem with its field, its value and what to do. `Refusal` is returned when the document is sound but the state
of the platform or its policy says no: it has a code that is never renamed.
"""
