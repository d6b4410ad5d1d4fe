"""SQL for text without its case, the same in databases of every locale; its indexes have the same expressions."""


def folded(text: str) -> str:
    """Return SQL for a text as it is searched.

    `lower` knows the capital letters of Turkish, `casefold` the two small sigmas of Greek.
    """
    return f"casefold(lower({text} COLLATE pg_c_utf8))"


def folded_title(text: str) -> str:
    """Return SQL for a title as it is sorted."""
    return f'lower({text} COLLATE pg_c_utf8) COLLATE "C"'
