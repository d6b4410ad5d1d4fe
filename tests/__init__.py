"""Tests of the service; helpers under tests/support explain a failed assertion as the tests themselves do."""

import pytest

pytest.register_assert_rewrite("tests.support")
