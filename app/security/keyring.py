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
        except (InvalidToken, ValueError):  # ValueError: what is no text, or no base64.
            return None

    def renew(self, encrypted: str) -> str | None:
        """The same secret under the first key: unchanged where it is so already, None where no key fits."""
        try:
            self._first.decrypt(encrypted)
        except (InvalidToken, ValueError):
            text = self.decrypt(encrypted)
            return None if text is None else self.encrypt(text)
        return encrypted
