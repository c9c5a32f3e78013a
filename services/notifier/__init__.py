"""Owns webhooks: their secrets, deliveries and attempts.

Accepts notifier.* commands. Announces notifier.* events. Reacts to job.submitted, job.completed and job.failed.
"""
