"""The address at which a browser on this machine finds what listens here."""

_EVERY_ADDRESS = {"", "0.0.0.0", "::"}  # noqa: S104  # a browser wants one of them


def local_url(host: str, port: int) -> str:
    """Return the URL of a service that listens on a host, which may stand for every address, and a port."""
    if host in _EVERY_ADDRESS:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
