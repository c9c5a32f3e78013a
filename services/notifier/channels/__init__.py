"""The ways in which people and programs are told; one module each."""
