"""Counts which category each feature of a space's transactions had, and says how surely a new one has the same.

The most particular feature that was seen often enough decides. Its confidence is the share of its main category, with
half a transaction of doubt: four of four are 0.90. A text never seen is looked up under the most alike one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from rapidfuzz import fuzz, process

from dhanam_jobs.handlers.learning.features import Features, Textual, features_of

if TYPE_CHECKING:
    import datetime as dt

ACCEPTED: Final = 0.90
"""What is less sure stays without a category."""

_DOUBT = 0.5
_CORRECTION_WEIGHT = 2.0
_CORRECTION_DAYS = 90.0
_ALIKE = 92.0
_MOST_TEXTS = 500
# A single leading word is shared by strangers: it must have been seen under several texts.
_TEXTS_PER_WORD = 2


class Exemplary(Textual, Protocol):
    """A transaction with a category to learn."""

    @property
    def category_id(self) -> str: ...


class Corrected(Exemplary, Protocol):
    """A transaction whose category a person changed."""

    @property
    def corrected_at(self) -> dt.datetime: ...


class Prediction(msgspec.Struct, frozen=True):
    """A category, how surely (0 to 1), and why in a few words."""

    category_id: str
    confidence: float
    reason: str


class _Seen:
    """What was seen of one feature: the weight of each category, and the different texts."""

    __slots__ = ("texts", "weights")

    def __init__(self) -> None:
        self.weights: dict[str, float] = {}
        self.texts: set[str] = set()

    def best(self) -> tuple[str, float, float]:
        """The main category, its weight, and the weight of all."""
        category_id, weight = max(self.weights.items(), key=lambda item: (item[1], item[0]))
        return category_id, weight, sum(self.weights.values())


def learn(
    examples: Iterable[Exemplary], corrections: Iterable[Corrected] = (), *, now: dt.datetime | None = None
) -> Model:
    """Give a model of these examples; a correction counts for two more, fading over the months before `now`."""
    model = Model()
    for example in examples:
        model._add(features_of(example), example.category_id, 1.0)
    for correction in corrections:
        days = 0.0 if now is None else max(0.0, (now - correction.corrected_at).total_seconds() / 86_400)
        weight = _CORRECTION_WEIGHT * math.exp(-days / _CORRECTION_DAYS)
        model._add(features_of(correction), correction.category_id, weight)
    return model


class Model:
    """What was learned; made by `learn`."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._texts: Counter[str] = Counter()
        self._known: list[str] | None = None
        self._answers: dict[Features, Prediction | None] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def predict(self, transaction: Textual) -> Prediction | None:
        """Give the category that the books suggest, or None where they are not sure enough (`ACCEPTED`)."""
        features = features_of(transaction)
        if not self._seen or not features:
            return None
        if features not in self._answers:
            self._answers[features] = self._answer(features)
        return self._answers[features]

    def _add(self, features: Features, category_id: str, weight: float) -> None:
        if not features:
            return
        self._texts[features[0]] += 1
        for feature in features:
            seen = self._seen.setdefault(feature, _Seen())
            seen.weights[category_id] = seen.weights.get(category_id, 0.0) + weight
            seen.texts.add(features[0])

    def _answer(self, features: Features) -> Prediction | None:
        for feature in features:
            found = self._judged(feature)
            if found is not None:
                return found if found.confidence >= ACCEPTED else None
        return self._alike(features[0])

    def _judged(self, feature: str) -> Prediction | None:
        """What the feature says; None where it was not seen, or too rarely to say anything."""
        seen = self._seen.get(feature)
        if seen is None:
            return None
        category_id, weight, total = seen.best()
        confidence = (weight + _DOUBT) / (total + 2 * _DOUBT)
        if confidence < ACCEPTED and weight == total:
            # Nothing speaks against it, there is only too little: a broader feature may know more.
            return None
        kind, _, text = feature[1:].partition(":")
        if kind == "1" and len(seen.texts) < _TEXTS_PER_WORD:
            return None
        return Prediction(category_id, round(confidence, 4), f"{weight:g} of {total:g} like {text!r}")

    def _alike(self, text: str) -> Prediction | None:
        if self._known is None:
            self._known = [known for known, _ in self._texts.most_common(_MOST_TEXTS)]
        same_sign = [known for known in self._known if known[0] == text[0]]
        found = process.extractOne(text, same_sign, scorer=fuzz.ratio, score_cutoff=_ALIKE)
        if found is None:
            return None
        known, score, _ = found
        base = self._judged(known)
        if base is None or base.confidence * score / 100 < ACCEPTED:
            return None
        return Prediction(
            base.category_id, round(base.confidence * score / 100, 4), f"{base.reason}, {score:.0f}% alike"
        )
