"""The gdluxx extension API: what its browser extension and people's scripts send links with."""
