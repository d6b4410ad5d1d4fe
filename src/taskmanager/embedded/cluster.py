"""The cluster of an embedded PostgreSQL: its data and its password."""

import os
import secrets
import shutil
import tempfile
from pathlib import Path

from taskmanager.embedded.binaries import SERVICE_FOLDER, major_version, open_service_folder
from taskmanager.embedded.data_folder import DataFolder
from taskmanager.embedded.errors import EmbeddedPostgresError
from taskmanager.embedded.programs import Programs
from taskmanager.embedded.shared_memory import remove_left_segments

NAME = "taskmanager"  # the database and its role


def prepare_cluster(folder: DataFolder, programs: Programs, binaries: Path, *, is_synced: bool) -> None:
    """Create the cluster where it is missing, with its database, and look at its version.

    Args:
        folder: Held by this process.
        programs: Runs those of PostgreSQL under the server's account.
        binaries: The folder of these.
        is_synced: Whether a new cluster is written to the disk before this returns.

    Raises:
        EmbeddedPostgresError: It cannot be created, or holds data of another major version or none.
        OSError: A file cannot be written.
    """
    for unfinished in folder.path.glob("postgres.new-*"):
        shutil.rmtree(unfinished, ignore_errors=True)  # the initdb of a killed process may still be writing
    if not os.path.lexists(folder.cluster):
        _create_cluster(folder, programs, binaries, is_synced=is_synced)
    version = folder.data / "PG_VERSION"
    if not version.exists():
        raise EmbeddedPostgresError(f"{folder.cluster.resolve()} holds no PostgreSQL data: move {folder.cluster} away")
    theirs, ours = version.read_text().strip(), major_version()
    if theirs != ours:
        raise EmbeddedPostgresError(
            f"{folder.cluster} holds data of PostgreSQL {theirs}, and this is PostgreSQL {ours}: move it away"
        )


def remove_cluster(folder: DataFolder) -> None:
    """Delete the cluster with all its data, wherever it lies; its server must be stopped."""
    if not folder.cluster.is_symlink():
        shutil.rmtree(folder.cluster, ignore_errors=True)
        return
    if folder.cluster.resolve().parent == SERVICE_FOLDER:
        shutil.rmtree(folder.cluster.resolve(), ignore_errors=True)
    folder.cluster.unlink()


def _create_cluster(folder: DataFolder, programs: Programs, binaries: Path, *, is_synced: bool) -> None:
    inside = programs.reaches(folder.path)
    parent = folder.path if inside else open_service_folder()
    new = Path(tempfile.mkdtemp(prefix="postgres.new-" if inside else "cluster-", dir=parent))
    try:
        (new / "password").write_text(secrets.token_urlsafe(32))
        (new / "password").chmod(0o600)
        # Made here, so that it is still there, and known by its inode, when initdb is killed.
        (new / "data").mkdir(mode=0o700)
        programs.give(new / "password", new / "data", new)
        data = str(new / "data")
        programs.check(
            *(str(binaries / "initdb"), "-D", data, "-U", NAME, "-E", "UTF8", "--no-locale"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
            *("--auth=scram-sha-256", f"--pwfile={new / 'password'}"),
            # The password is 256 random bits: stretching it would only make every connection slower.
            *("-c", "scram_iterations=1"),
            *([] if is_synced else ["--no-sync"]),
        )
        programs.check(
            *(str(binaries / "postgres"), "--single", "-D", data, "-c", "exit_on_error=on", "postgres"),
            text=f"CREATE DATABASE {NAME};\n",
        )
        if inside:
            new.rename(folder.cluster)
        else:
            folder.cluster.symlink_to(new)
    except BaseException:
        remove_left_segments(new / "data")
        shutil.rmtree(new, ignore_errors=True)
        raise
