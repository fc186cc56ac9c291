"""Passwords are kept as Argon2id, checked a few at a time, and nobody's password opens nothing."""

from __future__ import annotations

import asyncio

import pytest

from dure.identity import passwords as module
from dure.identity.passwords import Passwords, TooBusy

PASSWORD = "correct horse battery staple"


def test_a_password_is_kept_as_argon2id_and_only_it_is_right() -> None:
    async def story() -> None:
        passwords = Passwords()
        kept = await passwords.hashed(PASSWORD)
        assert kept.startswith("$argon2id$")
        assert PASSWORD not in kept
        assert await passwords.is_right(PASSWORD, kept)
        assert not await passwords.is_right(PASSWORD + " ", kept)
        assert not await passwords.is_right(PASSWORD, "not a hash")
        passwords.close()

    asyncio.run(story())


def test_without_an_account_no_password_is_right_not_even_the_one_that_takes_the_time() -> None:
    async def story() -> None:
        passwords = Passwords()
        assert not await passwords.is_right("the password of nobody", "")
        passwords.close()

    asyncio.run(story())


def test_one_password_too_many_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)

    async def story() -> None:
        passwords = Passwords()
        done = await asyncio.gather(*(passwords.hashed(PASSWORD) for _ in range(5)), return_exceptions=True)
        assert sum(isinstance(each, TooBusy) for each in done) == 3
        assert await passwords.is_right(PASSWORD, next(each for each in done if isinstance(each, str)))
        passwords.close()

    asyncio.run(story())
