"""The program that each Slurm job is. It runs on the nodes, with their Python and nothing but its standard library."""
