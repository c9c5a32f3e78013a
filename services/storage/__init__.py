"""Owns stored files: their names, places and hashes, and serves them.

Accepts storage.* commands. Announces storage.* events. Reacts to job.files_deleted.
"""
