"""What the agents of all these engines have in common. It runs on the nodes, with the standard library alone."""
