"""A witness: it cosigns a log's checkpoint when the log only grew since the last one, and never otherwise.

Anybody may run one: a regulator, a participant, a partner abroad. It keeps the latest checkpoint of each log it was
told of (`memory`), judges what it is shown (`judging`), and is asked over HTTP as C2SP tlog-witness says (`serving`).
It needs nothing of a platform but the public keys of the logs, and knows nothing of what is in them.
"""
