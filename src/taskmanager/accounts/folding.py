"""SQL for user names without their case."""


def folded_name(name: str) -> str:
    """Return SQL for a user name without its case, the same in databases of every locale; it has a unique index."""
    return f"lower({name} COLLATE pg_c_utf8)"
