"""The read side: what the world looks like to someone who asks.

Pure functions from `World`, cards and rows to plain values. API, command line and portal show the same values, so a
number never has two definitions. Nothing here reads a clock: "now" is an argument.
"""
