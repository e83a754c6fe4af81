"""The rows of the threat model: what the attacker has, in words. Cells come from tests that ran, never from text."""

ROWS = {
    "A1": "network: arbitrary bytes",
    "A2": "old signed files: rollback",
    "A3": "replay: freeze",
    "A4": "a stolen online key, for a while: fast-forward",
    "A5": "network: endless data",
    "A6": "network: slow retrieval",
    "A7": "old signed files: mix and match",
    "A8": "edits page or sidecar: extraneous dependencies",
    "A9": "swaps two good files: wrong software",
    "A10": "one mirror: blocks updates",
    "A11": "timestamp key",
    "A12": "timestamp and snapshot keys",
    "A13": "the whole index host: all online keys, database, blobs",
    "A14": "one offline key below threshold",
    "A15": "a developer's key",
    "A16": "root keys below threshold",
    "A17": "root keys at threshold",
    "A18": "a delegate's key: one role, two delegators",
    "A19": "malformed roles",
    "B1": "a public project with a private one's name",
    "B2": "an account: typosquat",
    "B3": "a password: account takeover",
    "B4": "a token: token leak",
    "B5": "a token: new file in an old release",
    "B6": "owner: a removed filename again",
    "B7": "anyone: registers a deleted project",
    "B8": "admin of the index: replaces a file",
    "B9": "database write",
    "B10": "blob store write",
    "B11": "upstream or its CDN, once",
    "B12": "the signer: split view",
    "B13": "operator: restores an old backup",
    "B14": "the client's clock",
    "B15": "CDN: withholds metadata",
    "B16": "code execution in web",
    "B17": "a CI token once used",
    "B18": "an uploader: archive read in two ways",
    "B19": "an uploader: hidden dependencies",
    "B20": "installer's own cache",
    "B21": "a pull request: edited lock file",
}
COLUMNS = ("pip", "pip --require-hashes", "PEP 458", "signed", "witnessed", "sealed", "claimed")

WORST_FIRST = (
    "replaced",
    "installed",
    "rolled back",
    "mixed",
    "split",
    "endless",
    "hangs",
    "not seen",
    "back: not noticed",
    "older for new clients",
)
"""Words of cells in which the attacker gets something. Where several tests fill a cell, the worst one stands there."""


def worse(one: str, other: str) -> str:
    """The word that stands in a cell for which two tests found something."""
    return min((one, other), key=lambda word: WORST_FIRST.index(word) if word in WORST_FIRST else len(WORST_FIRST))
