"""Archives are parsed in processes that can be lost: ``worker`` runs in them, ``workers`` is how others ask."""
