"""The program that each Ray job is. It runs on the nodes; only `gang` needs Ray there."""
