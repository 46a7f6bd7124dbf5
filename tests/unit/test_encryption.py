"""Keys: the first encrypts, all decrypt."""

import pytest
from cryptography.fernet import Fernet

from app.security.keyring import KeyRing

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
SECRET = "canary-s3cret"


def test_what_is_encrypted_is_read_with_the_same_key_and_says_nothing_without():
    encrypted = KeyRing([OLD]).encrypt(SECRET)
    assert SECRET not in encrypted
    assert KeyRing([OLD]).decrypt(encrypted) == SECRET
    assert KeyRing([OTHER]).decrypt(encrypted) is None


def test_equal_secrets_are_encrypted_differently():
    keyring = KeyRing([OLD])
    assert keyring.encrypt(SECRET) != keyring.encrypt(SECRET)


def test_the_first_key_encrypts_and_all_decrypt():
    keyring = KeyRing([NEW, OLD])
    assert keyring.decrypt(KeyRing([OLD]).encrypt(SECRET)) == SECRET
    assert KeyRing([NEW]).decrypt(keyring.encrypt(SECRET)) == SECRET
    assert KeyRing([OLD]).decrypt(keyring.encrypt(SECRET)) is None


@pytest.mark.parametrize("text", ["", SECRET, "gAAAA", "gAAAAA==", "\x00"])
def test_what_was_never_encrypted_cannot_be_read(text):
    assert KeyRing([OLD]).decrypt(text) is None
    assert KeyRing([OLD]).renew(text) is None


def test_a_renewed_text_needs_the_first_key_alone():
    renewed = KeyRing([NEW, OLD]).renew(KeyRing([OLD]).encrypt(SECRET))
    assert KeyRing([NEW]).decrypt(renewed) == SECRET


def test_a_text_that_is_under_the_first_key_is_not_renewed():
    encrypted = KeyRing([NEW]).encrypt(SECRET)
    assert KeyRing([NEW, OLD]).renew(encrypted) == encrypted


def test_keys_are_not_shown():
    assert OLD not in repr(KeyRing([OLD])) + str(vars(KeyRing([OLD])))
