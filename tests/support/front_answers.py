"""What the tests of several files in tests/http share: front answers."""

ORIGIN = "http://localhost:3000"


# One of each kind: a greeting, a list, and refusals by router, authentication, validation and domain.
PATHS = ("/", "/health", "/api/v1/tasks", "/nope", "/api/v1/tasks/0", "/api/v1/tasks/999999", "/openapi.json")
