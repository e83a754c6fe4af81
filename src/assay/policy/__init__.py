"""The policy of whoever installs: pure. Text becomes a layer (``parse``), layers become a policy (``model``), and the
facts about a project or file are held against it (``judge``), rule by rule (``rules``: one row for each kind of rule).

The law, which a property test holds: a file passes a policy when it passes every layer of it, and a layer's exemptions
lift that layer's own rules only. So another layer can add refusals and never take one away. docs/policy.md tells users.
"""
