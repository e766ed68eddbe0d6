"""Rules that most households can use: what they look for, and the categories, by name, that they are for."""

from __future__ import annotations

from typing import Final

import msgspec


class Preset(msgspec.Struct, frozen=True):
    """One rule: `pattern` is a regex over the description; it is for the first category whose name has one of
    `keywords`, in lower case."""

    name: str
    pattern: str
    keywords: tuple[str, ...]


PRIORITY: Final = 100

PRESETS: Final = (
    Preset(
        "Supermercados",
        r"\b(grocery|groceries|supermarket|walmart|soriana|chedraui|bodega aurrera|la comer|heb|costco|sam'?s)\b",
        ("groceries", "food", "supermarket", "despensa", "super"),
    ),
    Preset(
        "Gasolina",
        r"\b(gas|fuel|petrol|gasolina|gasolinera|pemex|g500|oxxo gas|shell)\b",
        ("transportation", "fuel", "gas", "gasolina", "transporte"),
    ),
    Preset(
        "Restaurantes",
        r"\bcaf[eé]|\b(restaurante?|coffee|starbucks|mcdonald'?s?|burger king|tacos|taquer[ií]a)\b",
        ("dining", "restaurants", "food", "restaurantes", "comida"),
    ),
    Preset("Efectivo", r"\b(atm|cajero|retiro de efectivo)\b", ("cash", "withdrawal", "efectivo")),
    Preset("Transferencias", r"\b(transfer|transferencia|spei|traspaso)\b", ("transfer", "transferencia")),
)
