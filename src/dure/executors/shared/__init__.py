"""What engines have in common that run an attempt as a job of a cluster and share a work folder with its nodes.

The job is an agent, a small program of the engine's own; orders to it, and what becomes of the attempt, are files in
the attempt's folder. So the engine's own memory is never the only proof of anything, and whoever cannot be reached for
a while finds everything there later.
"""
