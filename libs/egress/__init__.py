"""The one way out: what may be reached, decided on the address that is really connected to."""
