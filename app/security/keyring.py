"""Encrypts secrets that must be read back, with Fernet keys that can be rotated. Pure."""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class KeyRing:
    """Fernet keys. The first encrypts, all decrypt, so that keys can be rotated."""

    def __init__(self, keys: Sequence[str]) -> None:
        fernets = [Fernet(key) for key in keys]
        self._first = fernets[0]
        self._all = MultiFernet(fernets)

    def encrypt(self, text: str) -> str:
        return self._first.encrypt(text.encode()).decode()

    def decrypt(self, encrypted: str) -> str | None:
        """The secret, or None if no key fits."""
        try:
            return self._all.decrypt(encrypted).decode()
        except (InvalidToken, ValueError):  # ValueError: not UTF-8, or not base64.
            return None

    def renew(self, encrypted: str) -> str | None:
        """The secret encrypted with the first key: unchanged if it already is, None if no key fits."""
        try:
            self._first.decrypt(encrypted)
        except (InvalidToken, ValueError):
            text = self.decrypt(encrypted)
            return None if text is None else self.encrypt(text)
        return encrypted
