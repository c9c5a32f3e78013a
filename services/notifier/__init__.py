"""Owns webhooks and Slack channels: their secrets, deliveries and attempts.

Accepts notifier.* commands. Announces notifier.* events. Reacts to job.webhook_requested and to how such jobs end.
"""
