import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cloudrun_identity.api.predefined_roles import ACTING_ROLES, BASIC_ROLES, INVOKER
from cloudrun_identity.iam.role_catalog import RoleCatalog, known_permissions, role_catalog
from tools import role_catalog as converter

READER = {"name": "roles/run.reader", "title": "Reader", "stage": "BETA"}
ADMIN = {"name": "roles/run.admin", "title": "Admin", "stage": "GA"}
RETIRED = {"name": "roles/run.old", "title": "Old", "stage": "DEPRECATED"}


def test_catalog_has_the_roles_that_the_operator_names() -> None:
    assert {*ACTING_ROLES, *BASIC_ROLES, INVOKER} <= set(role_catalog())


def test_catalog_states_its_date_and_source() -> None:
    assert dt.date.fromisoformat(role_catalog().date)
    assert role_catalog().source.startswith("https://")


def test_catalog_is_a_sorted_mapping_by_name() -> None:
    catalog = role_catalog()
    assert list(catalog) == sorted(catalog)
    assert all(role.name == name and role.title for name, role in catalog.items())
    assert "roles/run.nonsense" not in catalog


def test_a_role_has_its_permissions_sorted_and_once() -> None:
    for role in role_catalog().values():
        assert list(role.permissions) == sorted(set(role.permissions))


def test_known_permissions_are_those_of_all_roles() -> None:
    held = {permission for role in role_catalog().values() for permission in role.permissions}
    assert held == known_permissions() == set(role_catalog().permissions)


def test_the_command_line_does_not_load_the_catalog() -> None:
    script = "import sys, cloudrun_identity.cli; print('cloudrun_identity.iam.role_catalog' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "False"


@pytest.fixture
def crawl(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of described roles, and a file with the current ones."""
    folder, listed = tmp_path / "roles", tmp_path / "listed.json"
    folder.mkdir()
    described: list[dict[str, Any]] = [
        {**ADMIN, "includedPermissions": ["run.services.get", "run.services.create", "run.jobs.get"]},
        {**READER, "includedPermissions": ["run.jobs.get"]},
        {**RETIRED, "includedPermissions": ["run.old.get"]},
    ]
    for number, role in enumerate(described):
        (folder / f"{number}.json").write_text(json.dumps(role))
    listed.write_text(json.dumps([READER, ADMIN]))
    return folder, listed


def test_converter_writes_what_the_catalog_reads(crawl: tuple[Path, Path]) -> None:
    text = converter.text(converter.roles(*crawl), "2026-08-22", "https://example.com")
    catalog = RoleCatalog(text)

    assert (catalog.date, catalog.source) == ("2026-08-22", "https://example.com")
    assert catalog.permissions == ("run.jobs.get", "run.services.create", "run.services.get")
    assert list(catalog) == ["roles/run.admin", "roles/run.reader"]
    assert catalog["roles/run.admin"].permissions == catalog.permissions
    assert (catalog["roles/run.reader"].stage, catalog["roles/run.reader"].title) == ("BETA", "Reader")


def test_converter_gives_equal_output_for_equal_input(crawl: tuple[Path, Path]) -> None:
    some, others = (
        converter.text(converter.roles(*crawl), "2026-08-22", "https://example.com") for _ in range(2)
    )
    assert some == others


def test_new_basic_roles_have_the_permissions_of_their_predecessors() -> None:
    catalog = role_catalog()
    for name, predecessor in converter.SUCCESSORS.items():
        assert catalog[name].permissions == catalog[predecessor].permissions
