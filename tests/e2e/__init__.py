import pytest

# So that a failed wait shows what was seen and what was expected.
pytest.register_assert_rewrite("tests.e2e.eventually")
