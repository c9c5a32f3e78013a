"""Owns the read models of all dialects and what clients keep here for themselves; the only public HTTP edge but files.

Accepts gateway.* queries. Announces nothing. Follows job.* for its views and sockets, and auth.* for what is revoked.
"""
