"""What messages promise, as documents: JSON Schema, AsyncAPI, samples, and the rule of what may change."""
