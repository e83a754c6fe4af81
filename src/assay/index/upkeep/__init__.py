"""What keeps a data folder well over years, and what brings it back: sweep, scrub, reserve, backup, restore."""
