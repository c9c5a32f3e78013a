"""Scripted file hosts: servers that speak the platforms' protocols over real HTTP and give links to real bytes.

host = hosts.host("rapidgator")
account = host.add_account(traffic_left=10 << 30)
file = host.add_file("a.bin", 300_000, password="open")
host.script("flood", on="resolve", times=2)
host.base_url, account.username, account.secret, file.url, file.sha256, host.count("resolve")
"""

from __future__ import annotations

from .host import Account, Answer, Ask, Broken, Fault, Host, HostedFile, Spoil
from .server import SPEECHES, Hosts

__all__ = ["SPEECHES", "Account", "Answer", "Ask", "Broken", "Fault", "Host", "HostedFile", "Hosts", "Spoil"]
