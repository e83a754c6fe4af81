"""The nouns of the house: names, digests, distributions, people's rights, events, errors. Pure: no I/O, no clock."""
