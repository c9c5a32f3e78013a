"""Where files are kept; one module per kind of target."""
