"""Engines that run the processes of a job: start, warn, stop, observe, logs. They make no choices.

`contract` says what every engine offers; `local` runs processes on this machine.
"""
