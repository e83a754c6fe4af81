"""The server: admission, ledger, blobs, signer, upstream, web."""
