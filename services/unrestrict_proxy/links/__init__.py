"""Users' links to files of file hosts: what they ask for, what it costs them, and what became of it."""
