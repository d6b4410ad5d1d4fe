"""Where libpq takes parameters from: the URI, then the service file, then the environment."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from taskmanager.libpq.errors import AddressError
from taskmanager.libpq.parameters import PARAMETERS, Use
from taskmanager.libpq.uri import ESCAPE_HINT, parse_uri


class Value(NamedTuple):
    """A value that is not empty, and the variable or the file that it is from, or None if that is the URI."""

    text: str
    source: str | None = None


def gather(uri: str, environment: Mapping[str, str]) -> dict[str, Value]:
    """Return every parameter that has a value, each of one that the service can honour.

    Raises:
        AddressError: There is one that libpq does not know or the driver has nothing for, or its value is not valid.
    """
    values = {name: Value(text) for name, text in parse_uri(uri).items() if text}
    if values.keys() - PARAMETERS.keys() and any("@" in value.text for value in values.values()):
        # The names may be part of a password.
        raise AddressError(f"has a parameter that libpq does not know; {ESCAPE_HINT}")
    from_environment = dict(_from_environment(environment))
    service = values.get("service") or from_environment.get("service")
    from_service = _from_service(service, environment) if service else {}
    values = {**from_environment, **from_service, **values}
    values.pop("service", None)
    return {name: _checked(name, value) for name, value in values.items()}


def refusal(name: str, value: Value, message: str) -> AddressError:
    """Return what is said about a value; a variable's name says as much as the parameter's."""
    is_variable = value.source is not None and value.source in {PARAMETERS[name].variable, "PGREQUIRESSL"}
    return AddressError(message if is_variable else f"{name} {message}", value.source)


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Value]]:
    if environment.get("PGREQUIRESSL") == "1":
        yield "sslmode", Value("require", "PGREQUIRESSL")
    for name, parameter in PARAMETERS.items():
        text = environment.get(parameter.variable, "") if parameter.variable else ""
        if stripped := text.strip():
            # White space may be part of a password.
            yield name, Value(text if name == "password" else stripped, parameter.variable)


def _checked(name: str, value: Value) -> Value:
    parameter = PARAMETERS.get(name)
    if parameter is None:
        raise AddressError(f"{name} is no parameter of libpq")
    if parameter.use is Use.WITHOUT_EFFECT:
        return value
    allowed = {text.lower(): text for text in parameter.values}
    if allowed and value.text.lower() in allowed:
        return value._replace(text=allowed[value.text.lower()])
    if parameter.use is Use.REFUSED:
        but = f" other than {' or '.join(parameter.values)}" if parameter.values else ""
        raise refusal(name, value, f"is not supported{but}: {parameter.remedy}")
    if allowed:
        raise refusal(name, value, f"must be one of {', '.join(parameter.values)}")
    return value


def _from_service(service: Value, environment: Mapping[str, str]) -> dict[str, Value]:
    own, home = environment.get("PGSERVICEFILE"), environment.get("HOME")
    files = [Path(own)] if own else [Path(home, ".pg_service.conf")] if home else []
    if folder := environment.get("PGSYSCONFDIR"):
        files.append(Path(folder, "pg_service.conf"))
    for file in files:
        found = _read_service(file, service.text, "PGSERVICEFILE" if str(file) == own else str(file))
        if found is not None:
            return found
    raise refusal("service", service, f"is not defined in {' or '.join(map(str, files)) or 'any file'}")


def _read_service(file: Path, name: str, source: str) -> dict[str, Value] | None:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AddressError(f"{file} cannot be read: {error.strerror}", source) from None
    except UnicodeDecodeError:
        raise AddressError(f"{file} is not UTF-8", source) from None
    found: dict[str, Value] | None = None
    is_inside = False
    for line in map(str.strip, lines):
        if line.startswith("["):
            is_inside = line == f"[{name}]" and found is None
            found = {} if is_inside else found
        elif found is not None and is_inside and line and not line.startswith("#"):
            key, equals, text = (part.strip() for part in line.partition("="))
            if not equals or key not in PARAMETERS or key == "service":
                raise AddressError(f"{file} has a line in [{name}] that is no parameter of libpq", source)
            if text:
                found[key] = Value(text, str(file))
    return found
