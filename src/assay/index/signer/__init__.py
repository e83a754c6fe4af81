"""The signer: the only process that can use a private key. It publishes what it can vouch for."""
