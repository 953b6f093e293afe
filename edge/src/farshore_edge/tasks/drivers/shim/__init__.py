"""A small process between the agent and one run of a task: it outlives the agent.

It starts the program, waits for it, writes down how it ended, and ends what the program has left. Where
the run has a lease, it ends it before the lease does, also while no agent lives. ``process/starting.py``
starts it. It imports as little as possible, for there is one for every run, and nothing once it runs: the
agent's files may be exchanged under it. It decides nothing about restarts.

Files in FOLDER: ``lock``, held for as long as it lives; ``number``, of the run that may be begun;
``started`` (number, its own pid and start, the program's pid and start, boot); ``exit`` (number, kind,
value, seconds), whole and synced, or not there. Its one line on standard output says how the start went.
"""
