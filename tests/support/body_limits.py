"""What the tests of several files in tests/http share: body limits."""

LIMIT = 1_048_576
