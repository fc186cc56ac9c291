"""Web pages over the reports, in Korean and English: rendered on the server, alive by one event stream, whole without scripts.

Pages load nothing from anywhere else, and a strict content security policy holds them to it.
"""
