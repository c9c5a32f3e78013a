"""What the README claims, measured: `just bench [NAME...]`."""
