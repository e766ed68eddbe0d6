"""Measures the engine against its peers in one run; README.md holds method, machine and numbers.

Nothing here is imported by the package.
"""
