"""The worker: a process type of its own, which takes tickets and runs attempts.

It reads no database and imports nothing of the service: what it must know comes with the claim, and what it did is
reported.
"""
