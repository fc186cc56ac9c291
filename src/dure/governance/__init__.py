"""Oversight as values: what was agreed and ordered, what the law asks, what was computed, and the evidence of it.

This room is pure. `register` holds what the ledger's entries of `dure.model.oversight` say.
"""
