"""Dure: software that runs a nation's shared AI compute."""
