"""Owns jobs, batches, attempts, the backlog and admission.

Accepts job.* commands. Announces job.* events. Its workers are a separate process type.
"""
