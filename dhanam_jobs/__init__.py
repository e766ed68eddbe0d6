"""Dhanam Jobs: a background-job engine on Redis Streams, and the jobs service of Dhanam built on it."""

__version__ = "0.1.0"
