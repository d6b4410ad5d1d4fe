"""The address at which a browser on this machine finds what listens here."""

_EVERY_ADDRESS = {"", "0.0.0.0", "::"}  # noqa: S104  # a browser wants one of them


def local_url(host: str, port: int) -> str:
    """Return the URL of a service that listens on a host, which may stand for every address, and a port."""
    if host in _EVERY_ADDRESS:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def lines_of_pages(url: str, *, web_app: bool) -> list[str]:
    """Return what a started server says about its pages."""
    return [*([f"Task Manager       {url}/app"] if web_app else []), f"Task Manager API   {url}/docs"]
