"""Secrets that must be read back: encrypted where they are kept. Pure."""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class KeyRing:
    """Fernet keys. The first encrypts and all decrypt, so that a key can be replaced while its texts are about."""

    def __init__(self, keys: Sequence[str]) -> None:
        fernets = [Fernet(key) for key in keys]
        self._first = fernets[0]
        self._all = MultiFernet(fernets)

    def encrypt(self, text: str) -> str:
        return self._first.encrypt(text.encode()).decode()

    def decrypt(self, encrypted: str) -> str | None:
        """None where no key fits."""
        try:
            return self._all.decrypt(encrypted).decode()
        except InvalidToken:
            return None
