"""Errors go between the processes of a cluster, and say the same there."""

import pickle

import pytest

from sagescope.sae.errors import ProviderDown, ReplyError, SagescopeError, TextError, UnknownName


@pytest.mark.parametrize(
    "error",
    [
        TextError("Too long: shorten it."),
        UnknownName("mind", "ruels", ["rules"]),
        ReplyError("The reply holds no JSON object.", "form"),
        ProviderDown("It is gone: try again.", status=503, retry_after=2.0, maybe_paid=True),
    ],
)
def test_an_error_is_the_same_in_another_process(error: SagescopeError):
    there = pickle.loads(pickle.dumps(error))
    assert type(there) is type(error)
    assert str(there) == str(error)
    assert vars(there) == vars(error)
