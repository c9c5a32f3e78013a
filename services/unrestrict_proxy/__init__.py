"""Owns platforms, host accounts and their credentials, users' cookies, and says which platform a link belongs to.

Accepts unrestrict_proxy.* commands. Announces unrestrict_proxy.* events. Reacts to nothing.
"""
