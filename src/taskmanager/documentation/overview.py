"""What the API's description says of the API as a whole: licence, contact, address, tags and credentials."""

from typing import Any, Final

_LICENSE: Final = {"name": "MIT", "identifier": "MIT"}
_CONTACT: Final = {"name": "The operator of this server"}


def describe_api(document: dict[str, Any]) -> None:
    """Complete the parts of a description that belong to no single operation, and say who may call which."""
    document["info"] |= {"license": _LICENSE, "contact": _CONTACT}
    document["servers"] = [{"url": "/"}]
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    used = {tag for operation in operations for tag in operation["tags"]}
    document["tags"] = [{"name": tag, "description": f"Routes of {tag}."} for tag in sorted(used)]
    for operation in operations:
        _describe_credentials(operation)


def _describe_credentials(operation: dict[str, Any]) -> None:
    operation.setdefault("security", [])
    needed = sorted({scope for demand in operation["security"] for scopes in demand.values() for scope in scopes})
    for demand in operation["security"]:
        for name in demand.keys() - {"Login"}:
            demand[name] = []  # only OAuth's schemes have scopes here
    if needed:
        operation["x-required-scopes"] = needed
        named = " and ".join(f"`{scope}`" for scope in needed)
        operation["description"] += f"\n\nAn API key needs the scope{'s' if len(needed) > 1 else ''} {named}."
