"""Measures what Farshore promises, on this machine, and says whether it holds.

A measurement, no test: nothing here fails because a figure is bad. ``docs/bench.md`` says what is
measured, how, and what a figure does not say.
"""
