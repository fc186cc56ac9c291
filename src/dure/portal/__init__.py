"""Web pages over the reports, in Korean and English: made by the server, alive by one event stream, whole without it.

Pages load nothing from anywhere else, and a strict content security policy holds them to it.
"""
