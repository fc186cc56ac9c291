"""The digital twin: the same world and the same decisions, with a simulated clock, simulated engines and no disk."""
