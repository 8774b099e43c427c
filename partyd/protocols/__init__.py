"""Exchanges that algorithms are made of."""
