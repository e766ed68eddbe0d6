"""The arithmetic of ESG scores: weights, scores from metrics, a portfolio's scores. Pure and exact."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import msgspec

from dhanam_jobs.handlers.providers.esg import Metrics

_HUNDRED: Final = Decimal(100)
_MIDDLE: Final = Decimal(50)
_STEP: Final = Decimal("0.01")
NEGLIGIBLE: Final = Decimal("0.001")
"""Share of a portfolio up to which an asset doesn't count."""


class Weights(msgspec.Struct, frozen=True):
    """How much each score counts in the overall one; they need not add up to 1."""

    environmental: Decimal = Decimal("0.4")
    social: Decimal = Decimal("0.3")
    governance: Decimal = Decimal("0.3")


class Scores(msgspec.Struct, frozen=True):
    """Scores from 0 to 100, and how far they can be trusted, too."""

    environmental: Decimal
    social: Decimal
    governance: Decimal
    confidence: Decimal

    def overall(self, weights: Weights) -> Decimal:
        """The weighted mean, to two decimals."""
        total = weights.environmental + weights.social + weights.governance
        summed = (
            self.environmental * weights.environmental
            + self.social * weights.social
            + self.governance * weights.governance
        )
        return (summed / total).quantize(_STEP, ROUND_HALF_UP)

    @property
    def wrong(self) -> str | None:
        """Which score is not from 0 to 100, if one is."""
        for name in self.__struct_fields__:
            value: Decimal = getattr(self, name)
            if not (value.is_finite() and 0 <= value <= _HUNDRED):
                return f"{name}: found {value}, wanted 0 to 100"
        return None


WEIGHTS: Final = Weights()
UNKNOWN: Final = Scores(_MIDDLE, _MIDDLE, _MIDDLE, Decimal(30))
"""What an asset without scores counts as in a portfolio."""

_CONSENSUS: Final = {"pow": -30, "pos": 20, "dpos": 15, "hybrid": 5}


def score_metrics(metrics: Metrics) -> Scores:
    """Make scores from an asset's metrics.

    >>> score_metrics(Metrics(consensus_mechanism="pow")).environmental
    Decimal('20')
    """
    environmental = _MIDDLE + _CONSENSUS.get((metrics.consensus_mechanism or "").lower(), 0)
    if (energy := metrics.energy_intensity) is not None:
        environmental += _step(energy, (Decimal("0.1"), 20), (Decimal(1), 10), (Decimal(10), -10), (_HUNDRED, -20))
    if (carbon := metrics.carbon_intensity) is not None:
        environmental += _step(carbon, (Decimal(10), 15), (_MIDDLE, 5), (_HUNDRED, -10), (Decimal(500), -20))
    social = (
        _MIDDLE
        + _off(metrics.community_engagement) * Decimal("0.5")
        + _off(metrics.developer_activity) * Decimal("0.3")
    )
    governance = (
        _MIDDLE
        + _off(metrics.decentralization_score) * Decimal("0.4")
        + _off(metrics.transparency_score) * Decimal("0.3")
        + _off(metrics.regulatory_compliance) * Decimal("0.3")
    )
    numbers = [name for name in metrics.__struct_fields__ if name != "consensus_mechanism"]
    present = sum(getattr(metrics, name) is not None for name in numbers)
    confidence = Decimal(30 + 10 + 10 * present)
    return Scores(_clamped(environmental), _clamped(social), _clamped(governance), _clamped(confidence))


def _step(
    value: Decimal,
    best: tuple[Decimal, int],
    good: tuple[Decimal, int],
    poor: tuple[Decimal, int],
    worst: tuple[Decimal, int],
) -> int:
    """Points for being below the first two, or above the last two."""
    for (limit, points), better in ((best, True), (good, True), (worst, False), (poor, False)):
        if value < limit if better else value > limit:
            return points
    return 0


def _off(grade: Decimal | None) -> Decimal:
    return Decimal(0) if grade is None else grade - _MIDDLE


def _clamped(value: Decimal) -> Decimal:
    return min(max(value, Decimal(0)), _HUNDRED)


def score_portfolio(parts: Sequence[tuple[Decimal, Scores | None]]) -> Scores | None:
    """The scores of holdings by their values, to two decimals; None where they are worth nothing.

    What has no scores counts as UNKNOWN; what is negligible doesn't count. The overall score is `overall` of these.
    """
    total = sum((value for value, _ in parts if value > 0), Decimal(0))
    counted = [(value, scores or UNKNOWN) for value, scores in parts if value > 0 and value / total > NEGLIGIBLE]
    weight = sum((value for value, _ in counted), Decimal(0))
    if not weight:
        return None

    def mean(name: str) -> Decimal:
        summed = sum((value * getattr(scores, name) for value, scores in counted), Decimal(0))
        return (summed / weight).quantize(_STEP, ROUND_HALF_UP)

    return Scores(*(mean(name) for name in Scores.__struct_fields__))
