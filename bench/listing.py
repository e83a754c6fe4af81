"""A synthetic listing of an upstream, as large as wanted: ``python bench/listing.py FILES > listing``.

PEP 691 JSON, one project page a line, as ``assay upstream import`` reads it. Names, versions, hashes, sizes and times
are random (from a fixed seed), so that what is signed compresses as a real index's does. Proportions are PyPI's: 0.0875
projects per file, few projects with very many files.
"""

import hashlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import orjson

PROJECTS_PER_FILE = 0.0875
_CONSONANTS, _VOWELS = "bdfghklmnprst", "aeiou"
_SYLLABLES = [consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS]
_TAGS = ["py3-none-any", "cp311-cp311-manylinux_2_17_x86_64", "cp312-cp312-macosx_11_0_arm64", "cp312-cp312-win_amd64"]
_PYTHONS = [">=3.7", ">=3.8", ">=3.9", ">=3.10", None]


def pages(files: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Project pages with about ``files`` files in all, the last of them cut to fit."""
    chance = random.Random(seed)
    left, projects = files, max(1, round(files * PROJECTS_PER_FILE))
    mean = files / projects
    for number in range(projects):
        count = (
            left if number == projects - 1 else min(left, max(1, round(chance.lognormvariate(0, 1.3) * mean * 0.43)))
        )
        left -= count
        yield page(project_name(number, seed), count, chance)
        if left <= 0:
            return


def project_name(number: int, seed: int = 1) -> str:
    """The name of project ``number``; names come in no order, as in a real listing's index."""
    digest = hashlib.sha256(b"%d/%d" % (seed, number)).digest()
    return "-".join(
        "".join(_SYLLABLES[byte % len(_SYLLABLES)] for byte in digest[start : start + 3]) for start in (0, 3, 6)
    )


def page(name: str, count: int, chance: random.Random) -> dict[str, Any]:
    """One page with ``count`` files."""
    wheel, files, version = name.replace("-", "_"), list[dict[str, Any]](), 0
    python = chance.choice(_PYTHONS)
    while len(files) < count:
        version += 1
        number = f"{version // 100}.{version // 10 % 10}.{version % 10}"
        day = f"20{chance.randrange(12, 26)}-{chance.randrange(1, 13):02d}-{chance.randrange(1, 28):02d}"
        for tag in [None, *_TAGS[: chance.choice((1, 1, 1, 4))]]:
            filename = f"{wheel}-{number}.tar.gz" if tag is None else f"{wheel}-{number}-{tag}.whl"
            digest = chance.randbytes(32).hex()
            file: dict[str, Any] = {
                "filename": filename,
                "url": f"https://files.example/packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{filename}",
                "hashes": {"sha256": digest},
                "size": chance.randrange(2_000, 4_400_000),
                "upload-time": f"{day}T{chance.randrange(24):02d}:00:00.{chance.randrange(10**6):06d}Z",
                "yanked": False,
                "core-metadata": {"sha256": chance.randbytes(32).hex()} if tag else False,
            }
            if python:
                file["requires-python"] = python
            files.append(file)
    return {"meta": {"api-version": "1.4"}, "name": name, "files": files[:count]}


def main() -> int:
    """Write the listing of argv[1] files to standard output."""
    for document in pages(int(sys.argv[1])):
        sys.stdout.buffer.write(orjson.dumps(document) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
