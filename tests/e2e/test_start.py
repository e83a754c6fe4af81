"""`assay run` starts before every install: what it must not load for a command that asks for nothing."""

import pytest

from assay.cli.demo.programs import ASSAY
from e2e.house import House

pytestmark = pytest.mark.e2e

FORBIDDEN = (
    "aiohttp",
    "assay.cli.demo",
    "assay.client.provenance",
    "assay.formats.simple_html",
    "assay.formats.wheel",
    "assay.index",
    "assay.keys",
    "assay.provenance.attestations",
    "assay.provenance.openpgp",
    "assay.witness",
    "jwt",
    "pydantic",
    "pysequoia",
    "rich",
    "sigstore",
    "sqlalchemy",
    "tuf.ngclient",
    "urllib.request",
    "uvicorn",
)


def test_a_start_loads_nothing_that_only_others_need(house: House) -> None:
    done = house.user().run("env", "PYTHONPROFILEIMPORTTIME=1", *ASSAY, "run", "--", "true")
    assert done.code == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.said.splitlines() if line.startswith("import time:")}
    assert {"assay.client.run", "assay.client.trusted_index"} <= loaded
    assert {name for name in loaded if any(f"{name}.".startswith(f"{each}.") for each in FORBIDDEN)} == set()
