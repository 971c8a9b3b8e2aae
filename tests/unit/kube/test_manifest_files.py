"""Reading manifests from files, and the problems that are reported."""

from pathlib import Path

import pytest

from cloudrun_identity.kube.manifest_files import Manifests, Source, read_manifests

BINDING = """
apiVersion: cloudrun-identity.dev/v1alpha1
kind: IAMBinding
metadata: {name: ops}
spec:
  projectRef: {name: shop}
  target: {kind: Project}
  role: roles/run.viewer
  members: [{principal: "group:ops@example.com"}]
"""


def read(tmp_path: Path, **files: str) -> Manifests:
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return read_manifests([tmp_path], "shop")


def names(found: Manifests) -> list[str]:
    return [
        f"{obj['kind']} {obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
        for obj in found.objects
    ]


def test_directory_is_read_and_other_kinds_are_skipped(tmp_path: Path) -> None:
    others = "{apiVersion: v1, kind: Secret, metadata: {name: x}}"
    namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"

    found = read(tmp_path, a=f"{BINDING}\n---\n{others}\n---\n", b=namespace)

    assert (names(found), found.problems) == (["IAMBinding shop/ops", "Namespace /shop"], [])


def test_each_object_has_its_file_and_first_line(tmp_path: Path) -> None:
    second = BINDING.replace("name: ops", "name: dev").lstrip()

    found = read(tmp_path, a=f"# comment\n{BINDING.lstrip()}---\n{second}")

    file = tmp_path / "a.yaml"
    assert found.sources == {
        ("IAMBinding", "shop", "ops"): Source(file, 2),
        ("IAMBinding", "shop", "dev"): Source(file, 11),
    }


def test_items_of_a_list_are_read(tmp_path: Path) -> None:
    items = BINDING.strip().replace("\n", "\n  ")

    found = read(tmp_path, a=f"apiVersion: v1\nkind: List\nitems:\n- {items}")

    assert names(found) == ["IAMBinding shop/ops"]


def test_merge_key_may_be_overridden(tmp_path: Path) -> None:
    found = read(tmp_path, a=BINDING.replace("{name: ops}", "{<<: {name: base}, name: ops}"))

    assert (names(found), found.problems) == (["IAMBinding shop/ops"], [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{kind: ManagedProject, metadata: {name: shop}}", "not a manifest: apiVersion and kind must be set"),
        (BINDING.replace("roles/run.viewer", "viewer"), 'IAMBinding shop/ops: spec.role: "viewer": must be'),
        (
            BINDING.replace("name: ops", r'name: "o\eps"').replace("roles/run.viewer", "viewer"),
            r'IAMBinding shop/o\x1bps: spec.role: "viewer": must be',
        ),
        (
            BINDING.replace("roles/run.viewer", r'"view\0er"'),
            r'IAMBinding shop/ops: spec.role: "view\x00er": must be',
        ),
        (
            BINDING.replace("role:", "roles:"),
            "IAMBinding shop/ops: spec.roles: unknown field; the known fields are",
        ),
        (
            BINDING.replace("kind: Project", "kind: Bucket"),
            "IAMBinding shop/ops: spec.target.kind: 'Bucket': ",
        ),
        (BINDING.replace("metadata: {name: ops}", "metadata: {}"), "IAMBinding: metadata.name: must be set"),
        (
            BINDING.replace("kind: IAMBinding", "kind: Binding"),
            "Binding ops: kind: 'Binding' cannot be applied",
        ),
        (
            BINDING.replace("v1alpha1", "v1"),
            "IAMBinding shop/ops: apiVersion: 'cloudrun-identity.dev/v1': must",
        ),
        (f"{BINDING}---{BINDING}", "IAMBinding shop/ops: already declared in "),
        (
            BINDING.replace("  role:", "  role: roles/run.invoker\n  role:"),
            ", line 9: role is set twice; remove one of the two",
        ),
        (
            BINDING.replace("{name: shop}", "{name: shop, name: other}"),
            ", line 6: name is set twice",
        ),
        ("a: [", ", line 1: the file is not valid YAML"),
        ("{[a]: b}", ", line 1: the file is not valid YAML"),
        ("- x", ": not a manifest: apiVersion and kind must be set"),
    ],
)
def test_problem_names_file_object_and_field(tmp_path: Path, text: str, problem: str) -> None:
    found = read(tmp_path, a=text)

    assert found.problems
    assert found.problems[0].startswith(f"{tmp_path / 'a.yaml'}")
    assert problem in found.problems[0]
    assert found.problems[0].isprintable()
