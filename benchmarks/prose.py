"""English-like text for the load: real words, drawn with Zipf-like frequencies, in sentences and paragraphs.

Texts of 3,000 characters shrink to 52 % under zlib level 1, those of this project's documentation to 50 %: sizes on
disk and times for compression are those of real content. Nothing here is random bytes, nothing repeats itself.
"""

import itertools
import random
from collections.abc import Sequence

# The commonest words of English prose, commonest first.
_FUNCTION_WORDS = """
the of and to a in is that for it as with on by this be are or from at an which not have was will if can may must any
has been their other all when more such its one only no also than into where each per after before under these those
between within should does do there they you we your our up out about over would could who what how then so but most
both same further during upon unless until because without against through whether whose while every second first new
"""

# Stems of the domain (insurance, software, law), commonest first; endings make a vocabulary of thousands of them.
_STEMS = """
policy claim cover insur contract person account damage notice period date amount request document pay rule service data
system question answer case state value limit customer report record office agent accident vehicle house water fire
storm travel health treat hospital doctor medic theft loss repair estimate invoice deduct premium term renew cancel sign
consent benefit exclude include require apply provide confirm review approve reject assess decide inform transfer
receive deliver submit process handle manage index search retrieve rank embed token model prompt version schema field
table query filter cache store write read stream batch trace span stage measure score threshold metric relevan
consisten accura complete correct fail retry timeout error warn detect prevent protect secur privac access grant revoke
audit legal liab court law regulat article section paragraph annex clause define interpret oblig right duty breach
penalt compensat refund interest currenc tax income pension invest market risk hazard probab frequen sever average
ratio percent increase decrease adjust calculat simulat forecast plan schedule season annual month week day hour minute
region countr city district street build floor room roof wall window door electr heat pipe garden garage tenant owner
landlord rent lease mortgage bank loan credit debt card number letter mail phone contact address name birth age family
child parent spouse worker employ compan busines trade produc manufactur transport ship cargo train flight airport
passenger baggage delay border visa weather flood earthquake emergenc rescue polic witness statement evidence photo
inspect expert opinion dispute settle negotiat agree mediat appeal judg final original copy archive delete retain
"""
_ENDINGS = ("", "s", "ed", "ing", "er", "able", "ation", "ment", "al", "ive", "ly", "ity", "ence", "or")

_POOL_SENTENCES = 6_000


def _vocabulary() -> tuple[list[str], list[float]]:
    """Words and their cumulated weights: rank^-0.95, function words first, rarer endings further down."""
    stems = _STEMS.split()
    words = _FUNCTION_WORDS.split() + [stem + ending for ending in _ENDINGS for stem in stems]
    weights = [(rank + 2.5) ** -0.95 for rank in range(len(words))]
    return words, list(itertools.accumulate(weights))


class Prose:
    """A source of text. The same seed always gives the same text."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - a reproducible load, no secret
        self._words, self._weights = _vocabulary()
        self._pool = [self._sentence() for _ in range(_POOL_SENTENCES)]

    def _sentence(self) -> str:
        count = self._random.randint(6, 24)
        words = self._random.choices(self._words, cum_weights=self._weights, k=count)
        if self._random.random() < 0.25:
            words[count // 2] = str(self._random.randint(2, 9_999))
        if count > 12:
            words[count // 3] += ","
        return " ".join(words).capitalize() + "."

    def text(self, size: int) -> str:
        """Paragraphs of about `size` characters, at least one sentence."""
        parts: list[str] = []
        length = 0
        while length < size:
            parts.append(self._random.choice(self._pool))
            length += len(parts[-1]) + 1
        return "".join(part + ("\n" if i % 5 == 4 else " ") for i, part in enumerate(parts)).rstrip()

    def question(self) -> str:
        """One sentence with a question mark."""
        return f"{self._random.choice(self._pool)[:-1]}?"

    def name(self, choices: Sequence[str]) -> str:
        """One of some names, the first ones more often."""
        weights = [1 / (rank + 1) for rank in range(len(choices))]
        return self._random.choices(choices, weights=weights)[0]
