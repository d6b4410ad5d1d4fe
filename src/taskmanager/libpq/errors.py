"""What is said about an address of a database that cannot be used."""


class AddressError(ValueError):
    """The address of the database cannot be used; the message is one line without any value from a URI.

    `source` is the variable or the file that is to blame, or None if that is the URI.
    """

    def __init__(self, message: str, source: str | None = None) -> None:
        super().__init__(message)
        self.source = source
