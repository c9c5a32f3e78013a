"""The external API v1: what download managers ask before they fetch a file from us."""
