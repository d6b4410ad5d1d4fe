"""A self-hosted task-management service: an async REST API on PostgreSQL."""
