"""Owns the read models of all dialects and what their clients are connected to; the only public HTTP edge beside files.

Accepts gateway.* queries. Announces nothing. Follows job.* for its views and sockets, and auth.* for what is revoked.
"""
