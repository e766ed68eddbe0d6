"""Learns a space's categories from its own books: pure, no store and no clock."""

from dhanam_jobs.handlers.learning.model import ACCEPTED, Model, Prediction, learn

__all__ = ["ACCEPTED", "Model", "Prediction", "learn"]
