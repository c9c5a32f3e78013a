"""The seven services, and the command line that runs them."""
