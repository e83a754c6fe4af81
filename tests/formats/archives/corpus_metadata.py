"""METADATA: what e-mail parsers disagree about, what packaging validates, what indexes refuse."""

from formats.archives.case import Case
from formats.archives.zip_builder import METADATA, WHEEL_NAME, wheel

HEAD = "Metadata-Version: 2.4\nName: demo\nVersion: 1.0\n"
LONG = f"Requires-Dist: a; os_name == '{'x' * (8_192 - 16)}'\n"
"""The longest that one requirement may be."""


def _accepted(name: str, metadata: bytes | str) -> Case:
    data = metadata if isinstance(metadata, bytes) else metadata.encode()
    return Case(f"metadata-accepts-{name}", WHEEL_NAME, wheel(metadata=data))


def _refused(name: str, metadata: bytes | str, rule: str, names: str) -> Case:
    data = metadata if isinstance(metadata, bytes) else metadata.encode()
    return Case(f"metadata-refuses-{name}", WHEEL_NAME, wheel(metadata=data), rule, names)


def accepted() -> list[Case]:
    licence = "License: MIT\n        \n        Permission is\n        \x0c\n        hereby granted\n"
    return [
        _accepted("windows-line-endings", METADATA.replace(b"\n", b"\r\n")),
        _accepted("no-body", HEAD),
        _accepted("an-empty-body", HEAD + "\n"),
        _accepted("headers-in-the-body", HEAD + "\nRequires-Dist: not a header\n\nName: neither\n"),
        _accepted("controls-in-the-body", HEAD + "\n\x0c\x1b\u2028text\r more\n"),
        _accepted("a-folded-licence", HEAD + licence),
        _accepted("a-folded-description", HEAD.replace("2.4", "1.2") + "Description: one\n        two\n"),
        _accepted("licence-files-before-2.4", HEAD.replace("2.4", "2.1") + "License-File: LICENSE\n"),
        _accepted("another-case-of-names", HEAD.replace("Name", "name")),
        _accepted("umlauts", HEAD + "Author: Zoë\nSummary: naïve — 日本\n\n# ünï\n"),
        _accepted("a-summary-of-512", HEAD + f"Summary: {'x' * 512}\n"),
        _accepted("a-label-of-32", HEAD + f"Project-URL: {'x' * 32}, https://example.com/?a=1,2\n"),
        _accepted("an-unknown-home-page", HEAD + "Home-page: UNKNOWN\n"),
        _accepted("markdown", HEAD + 'Description-Content-Type: text/markdown; charset="UTF-8"; variant=GFM\n'),
        _accepted("extras", HEAD + 'Provides-Extra: a-b\nRequires-Dist: idna[all]>=2; extra == "a-b"\n'),
        _accepted("a-licence-expression", HEAD + "License-Expression: (MIT OR Apache-2.0) AND BSD-3-Clause\n"),
        _accepted("nested-markers", HEAD + f"Requires-Dist: a; {'(' * 32}os_name == 'x'{')' * 32}\n"),
        _accepted("dependencies-as-long-as-may-be", HEAD + LONG * 32),
        _accepted("a-long-description", HEAD + "\n" * 199_000),
        _accepted("an-encoded-word", HEAD + "Author: =?utf-8?q?Zo=C3=AB?=\n"),
    ]


def refused() -> list[Case]:
    shapes = {
        "a-line-without-colon": ("License: MIT\nevil line\nRequires-Dist: evil\n", "metadata-header", "License"),
        "a-continued-requirement": ("Requires-Dist: idna\n  ; os_name == 'x'\n", "metadata-header", "Requires-Dist"),
        "a-continued-name": ("Platform: x\n y\n", "metadata-header", "Platform"),
        "a-lone-carriage-return": ("License: MIT\rRequires-Dist: evil\n", "metadata-control", "License"),
        "a-vertical-tab": ("License: MIT\x0bRequires-Dist: evil\n", "metadata-control", "License"),
        "a-form-feed-before-a-header": ("License: MIT\x0cRequires-Dist: evil\n", "metadata-control", "License"),
        "a-file-separator": ("License: MIT\x1cRequires-Dist: evil\n", "metadata-control", "License"),
        "a-next-line": ("License: MIT\x85Requires-Dist: evil\n", "metadata-control", "License"),
        "a-line-separator": ("License: MIT\u2028Requires-Dist: evil\n", "metadata-control", "License"),
        "a-nul": ("License: MIT\0\n", "metadata-control", "metadata"),
        "a-nul-in-the-body": ("\nbody\0\n", "metadata-control", "metadata"),
        "a-space-before-the-colon": ("Requires-Dist : evil\n", "metadata-header", "Version"),
        "an-envelope": ("From someone Mon Jan 1\n", "metadata-header", "Version"),
        "a-mime-type": ("Content-Type: multipart/mixed; boundary=x\n\n--x\n", "metadata-field", "content-type"),
        "a-transfer-encoding": (
            "Content-Transfer-Encoding: base64\n\nZXZpbA==\n",
            "metadata-field",
            "content-transfer",
        ),
        "an-unknown-field": ("X-Evil: 1\n", "metadata-field", "x-evil"),
        "a-second-name": ("Name: evil\n", "metadata-field", "name"),
        "a-second-name-in-another-case": ("NAME: evil\n", "metadata-field", "name"),
        "a-second-requires-python": (
            "Requires-Python: >=3\nRequires-Python: >=4\n",
            "metadata-field",
            "requires-python",
        ),
        "a-description-twice": ("Description: one\n\ntwo\n", "metadata-field", "description"),
        "a-url-label-twice": (
            "Project-URL: a, https://a.b/\nProject-URL: a, https://c.d/\n",
            "metadata-field",
            "project-url",
        ),
    }
    values = {
        "a-bad-requirement": ("Requires-Dist: not a requirement\n", "metadata-value", "requires-dist"),
        "a-bad-marker": ("Requires-Dist: a; colour == 'red'\n", "metadata-value", "requires-dist"),
        "a-bad-requires-python": ("Requires-Python: three\n", "metadata-value", "requires-python"),
        "a-bad-extra": ("Provides-Extra: a b\n", "metadata-value", "provides-extra"),
        "an-extra-twice": ("Provides-Extra: a-b\nProvides-Extra: A_B\n", "metadata-extra", "provides-extra"),
        "a-bad-licence-expression": ("License-Expression: Mine\n", "metadata-value", "license-expression"),
        "two-licences": ("License: MIT\nLicense-Expression: MIT\n", "metadata-license", "license-expression"),
        "a-licence-file-above": ("License-File: ../LICENSE\n", "metadata-value", "license-file"),
        "dynamic-name": ("Dynamic: Name\n", "metadata-value", "dynamic"),
        "an-unknown-dynamic-field": ("Dynamic: Colour\n", "metadata-value", "dynamic"),
        "html": ("Description-Content-Type: text/html\n", "metadata-value", "description-content-type"),
        "latin-1-content": (
            "Description-Content-Type: text/plain; charset=latin-1\n",
            "metadata-value",
            "description-content-type",
        ),
        "a-content-type-that-breaks-parsers": (
            "Description-Content-Type: text/plain; x*\n",
            "metadata-value",
            "description-content-type",
        ),
        "a-summary-of-513": (f"Summary: {'x' * 513}\n", "metadata-summary", "summary"),
        "a-folded-summary": ("Summary: one\n  two\n", "metadata-header", "Summary"),
        "a-label-of-33": (f"Project-URL: {'x' * 33}, https://example.com/\n", "metadata-url", "project-url"),
        "a-url-without-label": ("Project-URL: , https://example.com/\n", "metadata-url", "project-url"),
        "a-label-without-url": ("Project-URL: Home\n", "metadata-url", "project-url"),
        "a-javascript-url": ("Project-URL: Home, javascript:alert(1)\n", "metadata-url", "project-url"),
        "a-data-url": ("Home-page: data:text/html,hi\n", "metadata-url", "home-page"),
        "a-file-url": ("Download-URL: file:///etc/passwd\n", "metadata-url", "download-url"),
        "a-url-without-host": ("Home-page: https:///path\n", "metadata-url", "home-page"),
        "a-url-with-a-space": ("Home-page: https://a b/\n", "metadata-url", "home-page"),
        "a-broken-address": ("Home-page: https://[::1/\n", "metadata-url", "home-page"),
        "deep-markers": (f"Requires-Dist: a; {'(' * 900}os_name == 'x'{')' * 900}\n", "metadata-size", "requires-dist"),
        "one-bracket-too-many": (
            f"Requires-Dist: a; {'(' * 33}os_name == 'x'{')' * 33}\n",
            "metadata-size",
            "requires-dist",
        ),
        "a-deep-licence": (f"License-Expression: {'(' * 500}MIT{')' * 500}\n", "metadata-size", "license-expression"),
        "a-huge-number": (f"Requires-Dist: a=={'1' * 5_000}\n", "metadata-size", "requires-dist"),
        "a-long-requires-python": (f"Requires-Python: {'>=3,' * 500}<4\n", "metadata-size", "requires-python"),
        "too-many-lines": ("\n" * 200_001, "metadata-size", "metadata"),
        "long-dependencies-together": (LONG * 33, "metadata-size", "requires-dist"),
        "long-fields-together": ("License: x\n" + " y\n" * 333_334, "metadata-size", "metadata"),
        "too-many-classifiers": ("Classifier: a\n" * 10_001, "metadata-size", "classifiers"),
    }
    return [
        *(_refused(n, HEAD + text, rule, names) for n, (text, rule, names) in shapes.items()),
        *(_refused(n, HEAD + text, rule, names) for n, (text, rule, names) in values.items()),
        _refused("latin-1", METADATA + b"d\xe9mo", "metadata-encoding", "metadata"),
        _refused("utf-16", METADATA.decode().encode("utf-16"), "metadata-encoding", "metadata"),
        _refused("a-byte-order-mark", b"\xef\xbb\xbf" + METADATA, "metadata-control", "metadata"),
        _refused("an-empty-file", b"", "metadata-header", "metadata"),
        _refused("a-blank-first-line", b"\n" + METADATA, "metadata-header", "metadata"),
        _refused(
            "no-metadata-version", HEAD.replace("Metadata-Version: 2.4\n", ""), "metadata-value", "metadata-version"
        ),
        _refused("metadata-version-2.0", HEAD.replace("2.4", "2.0"), "metadata-value", "metadata-version"),
        _refused("metadata-version-9", HEAD.replace("2.4", "9.0"), "metadata-value", "metadata-version"),
        _refused("no-name", HEAD.replace("Name: demo\n", ""), "metadata-value", "name"),
        _refused("a-bad-name", HEAD.replace("demo", "-demo-"), "metadata-value", "name"),
        _refused("no-version", HEAD.replace("\nVersion: 1.0", ""), "metadata-value", "version"),
        _refused("a-bad-version", HEAD.replace("1.0", "one"), "metadata-value", "version"),
        _refused(
            "a-field-from-the-future",
            HEAD.replace("2.4", "2.1") + "License-Expression: MIT\n",
            "metadata-value",
            "license-expression",
        ),
        _refused("dynamic-before-2.2", HEAD.replace("2.4", "2.1") + "Dynamic: Summary\n", "metadata-value", "dynamic"),
    ]


def cases() -> list[Case]:
    return [*accepted(), *refused()]
