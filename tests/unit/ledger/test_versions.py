"""The versions of objects by which late watch events are recognized."""

from cloudrun_identity.ledger.versions import SeenVersions


def metadata(name: str, version: int) -> dict[str, str]:
    return {"name": name, "resourceVersion": str(version)}


def test_version_was_seen_if_a_newer_one_was() -> None:
    versions = SeenVersions()
    versions.add(metadata("a", 9))
    assert [versions.has(metadata("a", version)) for version in (8, 9, 10)] == [True, True, False]
    assert not versions.has(metadata("b", 1))


def test_versions_of_the_last_deleted_objects_are_kept() -> None:
    versions = SeenVersions(deleted_kept=3)
    for number in range(20):
        versions.add(metadata(f"deleted-{number}", number + 1))
        versions.note_deletion(f"deleted-{number}")
    versions.add(metadata("present", 30))
    assert len(versions) == 3 + 1
    assert versions.has(metadata("deleted-19", 20))
    assert not versions.has(metadata("deleted-0", 1)), "it would restore the object; so the limit is high"


def test_version_of_a_recreated_object_is_kept() -> None:
    versions = SeenVersions(deleted_kept=1)
    for name in ("a", "b"):
        versions.add(metadata(name, 1))
        versions.note_deletion(name)
        versions.add(metadata("a", 2))
    assert versions.has(metadata("a", 1))


def test_deletion_is_noted_once() -> None:
    versions = SeenVersions()
    versions.add(metadata("a", 5))
    for _ in range(2):
        versions.note_deletion("a")
        versions.note_deletion("unknown")
    assert len(versions) == 1
    assert versions.has(metadata("a", 5))
