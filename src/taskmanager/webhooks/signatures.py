"""Secrets and signatures of webhooks, by Standard Webhooks 1.0 (standardwebhooks.com).

A secret is derived from the service's own, so nothing is stored. A webhook has one for each generation: rotating raises
the generation, and the one before goes on signing for a day. While SECRET_KEY_PREVIOUS is set, what is derived from it
signs as well.
"""

import hmac
from base64 import b64encode
from collections.abc import Sequence
from typing import Final, NamedTuple

_FINGERPRINT_BYTES: Final = 8


class SecretName(NamedTuple):
    """Which secret: that of one generation of a webhook."""

    project_id: int
    webhook_id: int
    generation: int


class SecretMaker:
    """Derives the secrets of webhooks from those of the service, the first of which is the current one."""

    def __init__(self, service_secrets: Sequence[bytes]) -> None:
        self._keys = [hmac.digest(secret, b"webhooks", "sha256") for secret in service_secrets]
        self.fingerprints = [hmac.digest(key, b"fingerprint", "sha256")[:_FINGERPRINT_BYTES] for key in self._keys]

    @property
    def fingerprint(self) -> bytes:
        """What is stored of the key that secrets are derived from now."""
        return self.fingerprints[0]

    def secret(self, name: SecretName) -> str:
        """Return a secret as its owner gets it, `whsec_` and base64."""
        return f"whsec_{b64encode(_derive(self._keys[0], name)).decode()}"

    def sign(self, names: Sequence[SecretName], message_id: str, timestamp: int, body: bytes) -> str:
        """Return the value of `webhook-signature`, one signature for each secret; `timestamp` is in seconds."""
        signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
        secrets = [_derive(key, name) for name in names for key in self._keys]
        return " ".join(f"v1,{b64encode(hmac.digest(secret, signed, 'sha256')).decode()}" for secret in secrets)


def _derive(key: bytes, name: SecretName) -> bytes:
    return hmac.digest(key, b"%d %d %d" % name, "sha256")
