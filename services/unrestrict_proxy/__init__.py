"""Owns platforms, the pool of host accounts, links to their files and what those cost, and users' cookies.

Accepts unrestrict_proxy.* commands. Announces unrestrict_proxy.* events. Reacts to ends of jobs
and to files that are gone.
"""
