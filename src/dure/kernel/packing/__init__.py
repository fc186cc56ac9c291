"""Placement rules: what it would cost to put a job on a node. One file per rule; lowest cost wins.

| file | rule |
|---|---|
| `best_fit`, `dot_product`, `gpu_clustering`, `gpu_packing`, `fragmentation` | published rules, to compare with |
| `slots` | the rule of Dure, live and in the twin |
| `rules` | which rule is which number, and which GPU of a node a rule takes |

The published rules are those of Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with
Fragmentation Gradient Descent" (USENIX ATC 2023). All are integer arithmetic; a published score from 0 to 100 (more is
better) becomes a cost from 0 to -100.
"""
