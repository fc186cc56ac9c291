"""Oversight as values: what was agreed and ordered, what the law asks, what was computed, and the evidence of it.

This room is pure: all follows from what is given, such as rule packs, facts that people declare, evidence that is held,
a day. `register` holds what the ledger's entries of `dure.model.oversight` say. `packs` are the law as dated data.
Nothing here says that a law is complied with: it says which duties apply, what there is to show for them, and what is
missing.
"""
