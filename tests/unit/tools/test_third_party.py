"""The list of third-party licenses admits reviewed licenses only."""

import pytest

from tools import third_party


def test_a_license_that_was_not_reviewed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(third_party, "LICENSES", third_party.LICENSES - {"MPL-2.0"})
    with pytest.raises(third_party.UnknownLicenseError, match=r"certifi: review the license 'MPL-2.0'"):
        third_party.page()
