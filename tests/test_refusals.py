"""What a wrong call says: one line that names what it got and what was wanted, and never a wrong answer instead."""

import pytest
from tables.refusals import ROWS, SETTINGS, WITH_AND_WITHOUT_KERNELS, optimizer

from fastgan.dispatch import use_kernels


def refused(call, kind, words):
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in message
    assert len(message) > 15
    assert [word for word in words.split() if word not in message.replace(" ", "")] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2][:50].replace(" ", ","))
def test_a_wrong_call_is_one_line_that_says_what_was_given(row):
    refused(*row)


def test_array_code_refuses_what_kernels_do_and_settings_in_range_are_taken():
    with use_kernels(False):
        for row in WITH_AND_WITHOUT_KERNELS:
            refused(*row)
    for make, name, _, right in SETTINGS:
        optimizer(make, name, right)
