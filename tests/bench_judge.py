"""The judge of the digits, for tests: the data, a classifier of them, and what it takes real samples for."""

import pytest

from fastgan import data
from fastgan.benchmarks import classifier, scores

HALF = 898  # samples that the floor is of


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def trained(digits):
    return classifier.train(digits)


@pytest.fixture(scope="module")
def judge(digits, trained):
    return scores.judge(digits, trained, HALF)


@pytest.fixture(scope="module")
def images(digits):
    return digits.scaled(0, 1)
