"""Owns jobs, batches, attempts, the backlog and admission.

Accepts job.* commands. Announces job.* events. Reacts to auth.limits_set. Its workers are a separate process type.
"""
