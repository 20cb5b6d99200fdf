"""Seeds and noise of samples."""

import torch

from hpcpipe.models.seeds import generators, sample_seed


def test_seeds_stay_as_they_are_for_ever():
    assert sample_seed("0a1b-0", 0) == 2544089273986288313
    assert sample_seed("0a1b-0", 1) == 5205504863529579054
    assert sample_seed("شخص 🙂", 0) == 1955846659706243555


def test_seeds_fit_in_63_bits_and_use_them():
    seeds = [sample_seed(f"{n}", 7) for n in range(2000)]
    assert len(set(seeds)) == 2000
    assert max(seeds).bit_length() == 63
    assert min(seeds) >= 0


def test_a_key_that_is_no_text_has_a_seed():
    for key in (b"\xff".decode("utf-8", "surrogateescape"), "\ud800"):
        assert sample_seed(key, 0) != sample_seed("?", 0)


def test_every_sample_has_its_own_noise():
    first, second = (torch.randn(4, generator=one) for one in generators([1, 2]))
    (again,) = (torch.randn(4, generator=one) for one in generators([2]))
    assert torch.equal(second, again)
    assert not torch.equal(first, second)
