"""The providers' stand-ins: one server that speaks each provider's wire format over data of our own.

It answers for the demo, and tests use it. It takes what the providers take and refuses what they refuse; world.py
holds what it knows and what is to go wrong.
"""
