"""Owns users, roles, API keys, sessions and the keys that sign access tokens.

Accepts auth.* commands. Announces auth.* events, in which no secret is. Reacts to nothing.
"""
