"""Evidence bundles: everything that is to be shown about one model version, in one file that anybody checks offline.

`documents` writes what is in it, each in the form that its readers' tools know. `crate` is the file: an RO-Crate whose
manifest names the digest of everything. `verify` believes nothing of it but what the operator's key signed.
"""
