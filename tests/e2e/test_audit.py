"""``assay audit`` after ``assay run``, as a user types it."""

import json
from pathlib import Path

import pytest

from assay.cli.demo.programs import ASSAY
from e2e.house import House
from e2e.installers import UV

pytestmark = pytest.mark.e2e


def test_audit_verifies_what_run_installed_and_finds_what_changed(house: House) -> None:
    house.publish(("audited", "1.0"))
    user = house.user()
    done, _ = UV.install(user, "audited")
    assert done.code == 0, done.said
    venv = user.folder / "venv"
    sbom = user.folder / "sbom.json"
    words = (*ASSAY, "audit", "--python", str(venv))
    sound = user.run(*words, "--sbom", str(sbom))
    assert sound.code == 0, sound.said
    assert "1 verified, 0 not vouched for, 0 altered" in sound.said
    (component,) = json.loads(sbom.read_text())["components"]
    assert (component["name"], component["version"]) == ("audited", "1.0")
    module: Path = next(venv.glob("lib/python*/site-packages/audited.py"))
    module.unlink()
    module.write_text("evil\n")
    altered = user.run(*words, "--json")
    assert altered.code == 10
    (one,) = json.loads(altered.said.splitlines()[0])["distributions"]
    assert (one["verdict"], [difference["path"] for difference in one["differences"]]) == ("altered", [str(module)])
