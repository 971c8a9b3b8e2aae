import pytest

# A failed wait then shows the actual and the expected value.
pytest.register_assert_rewrite("tests.e2e.eventually")
