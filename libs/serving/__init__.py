"""Serving files over HTTP as RFC 9110 has it: ranges, preconditions, attachments, and never more memory than one piece.

One implementation for everything that sends stored bytes; whose request it is and what may be sent is the caller's.
"""
