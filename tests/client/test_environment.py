from collections.abc import Mapping
from pathlib import Path

import pytest

from assay.client.detours import option_detours, uv_detours
from assay.client.discover import PipSettings
from assay.client.environment import ChildEnvironment, RunPlaces, cache_folder, child_environment
from assay.client.proxy.routes import cover
from assay.model.digests import sha256_of
from client.memory_source import OWN_URL, UPSTREAM_SIMPLE

PLACES = RunPlaces(Path("/run/certificates.pem"), Path("/caches"))
PROXY = "http://assay:secret@127.0.0.1:1"


def environment(parent: Mapping[str, str], pip: PipSettings | None = None) -> ChildEnvironment:
    return child_environment(parent, PLACES, PROXY, cover(OWN_URL, [UPSTREAM_SIMPLE]), pip or PipSettings())


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"])
def test_every_way_out_is_the_proxy(name: str) -> None:
    found = environment({name: "http://corporate.example:3128", name.lower(): "http://corporate.example:3128"})
    assert found.variables[name] == found.variables[name.lower()] == found.variables["PIP_PROXY"] == PROXY


@pytest.mark.parametrize(
    "name",
    ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"],
)
def test_only_the_runs_authority_is_trusted(name: str) -> None:
    assert environment({name: "/etc/ssl/all.pem"}).variables[name] == "/run/certificates.pem"


@pytest.mark.parametrize(
    "name",
    ["SSL_CERT_DIR", "UV_INSECURE_HOST", "UV_ALLOW_INSECURE_HOST", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "uv_native_tls"],
)
def test_what_would_weaken_the_check_is_removed(name: str) -> None:
    assert name not in environment({name: "1"}).variables


def test_no_host_is_exempt_from_the_proxy() -> None:
    found = environment({"NO_PROXY": "*", "no_proxy": "upstream.example"}).variables
    assert found["NO_PROXY"] == found["no_proxy"] == ""


def test_the_rest_of_the_environment_is_the_users() -> None:
    found = environment({"PATH": "/bin", "PIP_NO_BINARY": ":all:", "UV_PROJECT": "x"}).variables
    assert (found["PATH"], found["PIP_NO_BINARY"], found["UV_PROJECT"]) == ("/bin", ":all:", "x")


def test_local_places_are_left_out_and_remote_ones_stay_to_be_judged() -> None:
    pip = PipSettings(
        index_urls=("file:///srv/index",),
        extra_index_urls=("file:///srv/extra", "https://private.example/simple"),
        find_links=("/srv/wheels",),
    )
    found = environment(
        {"UV_FIND_LINKS": "/srv/uv,https://links.example/", "UV_INDEX": "corp=https://corp.example/simple /srv/flat"},
        pip,
    )
    assert found.variables["PIP_INDEX_URL"] == f"{OWN_URL}simple/"
    assert found.variables["PIP_EXTRA_INDEX_URL"] == "https://private.example/simple"
    assert found.variables["PIP_FIND_LINKS"] == " "
    assert found.variables["UV_FIND_LINKS"] == "https://links.example/"
    assert found.variables["UV_INDEX"] == "corp=https://corp.example/simple"
    for place in ("file:///srv/index", "file:///srv/extra", "/srv/wheels", "/srv/uv", "/srv/flat"):
        assert any(place in line for line in found.left_out)


def test_a_covered_index_over_plain_http_is_taken_by_pip() -> None:
    assert environment({"PIP_TRUSTED_HOST": "evil.example"}).variables["PIP_TRUSTED_HOST"] == "trusted.example"


def test_caches_depend_on_trust_root_policy_and_takedowns() -> None:
    one, two = sha256_of(b"1"), sha256_of(b"2")
    folders = {
        cache_folder(Path("/c"), root, policy, taken)
        for root in (one, two)
        for policy in (one, two)
        for taken in ([], ["packages/demo/1.0/demo-1.0-py3-none-any.whl"])
    }
    assert len(folders) == 8
    found = environment({"UV_CACHE_DIR": "/home/user/.cache/uv"}).variables
    for name in ("PIP_CACHE_DIR", "UV_CACHE_DIR", "POETRY_CACHE_DIR", "PDM_CACHE_DIR", "PIPENV_CACHE_DIR"):
        assert found[name].startswith("/caches/")


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ('find-links = ["./wheels", "https://links.example/"]', "find-links ./wheels"),
        ('[pip]\nextra-index-url = ["file:///srv"]', "extra-index-url file:///srv"),
        ('[[index]]\nname = "x"\nurl = "/srv/index"', "index /srv/index"),
        ('https-proxy = "http://corporate.example:3128"', "https-proxy"),
    ],
)
@pytest.mark.parametrize("of_project", [True, False])
def test_uvs_ways_around_the_proxy_are_found(tmp_path: Path, text: str, setting: str, of_project: bool) -> None:
    project, config = tmp_path / "project", tmp_path / "config"
    path = (project if of_project else config / "uv") / "uv.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(config), "XDG_CONFIG_DIRS": str(tmp_path / "none")}
    found = uv_detours(environ, project / "below")
    assert [(detour.setting, detour.of_project) for detour in found] == [(setting, of_project)]
    assert uv_detours(environ | {"UV_NO_CONFIG": "1"}, project / "below") == ()


def test_uvs_table_of_pyproject_is_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.uv]\nfind-links = ["wheels"]\n')
    assert [detour.setting for detour in uv_detours({"HOME": str(tmp_path)}, tmp_path)] == ["find-links wheels"]


def test_options_that_lead_around_the_proxy_are_named() -> None:
    assert option_detours(["pip", "install", "--find-links=./wheels", "demo"]) == (
        "--find-links: files from there are not verified",
    )
    assert option_detours(["uv", "sync"]) == ()
