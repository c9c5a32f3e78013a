"""The web interface's API: signing in, and a socket that hears everything."""
