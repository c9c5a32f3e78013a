"""Plumbing that knows nothing of media; a module lives here only when two services need it."""
