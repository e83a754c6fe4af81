"""An organisation's own Sigstore instance that needs no network: authority, certificate log, log. Pure."""
