"""Where private keys live, and the ceremonies that use them."""
