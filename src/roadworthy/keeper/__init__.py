"""The keeper: parent and subreaper of a program and of its agent; the only part that starts, signals and reaps.

It is a process of its own that must stay below 12 MB and outlive everything, so it imports as little of the standard
library as it can and nothing else (no ``json``, ``signal``, ``socket``: regular expressions and enums cost megabytes).
It acts; the agent decides. Either may be killed without harming the program.
"""
