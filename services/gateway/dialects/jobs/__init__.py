"""The jobs API: what SDKs, workflow nodes and bots submit and poll with."""
