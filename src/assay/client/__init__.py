"""On the user's machine: verify, policy, proxy, run, explain."""
