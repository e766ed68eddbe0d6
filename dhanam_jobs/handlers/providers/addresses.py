"""Addresses of wallets: whether one can be right. Pure; nothing is asked.

Bitcoin: base58 with its checksum (1…, 3…) and bech32 or bech32m with theirs (bc1…). Ethereum: 0x and 40 hexadecimal
digits, with EIP-55's checksum where the letters are of both cases. Case is part of a base58 address and is kept.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_CHECK: Final = {0: 1}  # witness version 0: bech32; later ones: bech32m
_BECH32M_CHECK: Final = 0x2BC830A3
_ETH = re.compile(r"0x[0-9a-fA-F]{40}\Z")


def is_bitcoin(address: str) -> bool:
    """Whether it is an address of Bitcoin's main network, checksum and all."""
    if address[:3].lower() == "bc1":
        return _is_segwit(address)
    return address[:1] in ("1", "3") and _is_base58check(address)


def is_ethereum(address: str) -> bool:
    """Whether it is an address of Ethereum; with letters of both cases their checksum must hold."""
    if not _ETH.match(address):
        return False
    digits = address[2:]
    return digits in (digits.lower(), digits.upper()) or address == checksummed(address)


def checksummed(address: str) -> str:
    """The Ethereum address with the case of its letters as EIP-55 says.

    >>> checksummed("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed")
    '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'
    """
    digits = address[2:].lower()
    digest = keccak_256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(mark, 16) >= 8 else digit for digit, mark in zip(digits, digest, strict=False)
    )


def _is_base58check(address: str) -> bool:
    if not 26 <= len(address) <= 35 or any(letter not in _BASE58 for letter in address):
        return False
    number = 0
    for letter in address:
        number = number * 58 + _BASE58.index(letter)
    if number >= 1 << 200:
        return False
    raw = number.to_bytes(25, "big")
    zeros = len(raw) - len(raw.lstrip(b"\0"))
    ones = len(address) - len(address.lstrip("1"))
    check = hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4]
    return zeros == ones and raw[0] in (0x00, 0x05) and raw[-4:] == check


def _is_segwit(address: str) -> bool:
    if address not in (address.lower(), address.upper()) or not 14 <= len(address) <= 90:
        return False
    letters = address.lower()[3:]
    if any(letter not in _BECH32 for letter in letters):
        return False
    values = [_BECH32.index(letter) for letter in letters]
    version = values[0]
    wanted = _BECH32_CHECK.get(version, _BECH32M_CHECK)
    prefix = [ord(letter) >> 5 for letter in "bc"] + [0] + [ord(letter) & 31 for letter in "bc"]
    if version > 16 or _polymod([*prefix, *values]) != wanted:
        return False
    size, left = divmod(len(values[1:-6]) * 5, 8)
    if left >= 5 or (left and values[-7] & ((1 << left) - 1)):
        return False
    return size in (20, 32) if version == 0 else 2 <= size <= 40


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            if top >> bit & 1:
                check ^= generator
    return check


_ROTATIONS = [
    [0, 36, 3, 41, 18],
    [1, 44, 10, 45, 2],
    [62, 6, 43, 15, 61],
    [28, 55, 25, 21, 56],
    [27, 20, 39, 8, 14],
]
_MASK = (1 << 64) - 1


def _round_constants() -> list[int]:
    constants, register = [], 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << ((1 << j) - 1)
            register = register << 1 ^ (0x171 if register >> 7 else 0)
        constants.append(constant)
    return constants


_CONSTANTS = _round_constants()


def keccak_256(data: bytes) -> bytes:
    """The hash that Ethereum uses; the standard library's SHA3-256 pads differently.

    >>> keccak_256(b"").hex()[:16]
    'c5d2460186f7233c'
    """
    rate = 136
    padded = bytearray(data + b"\x01" + b"\0" * (-(len(data) + 1) % rate))
    padded[-1] |= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for start in range(0, len(padded), rate):
        for index in range(rate // 8):
            word = int.from_bytes(padded[start + 8 * index : start + 8 * index + 8], "little")
            lanes[index % 5][index // 5] ^= word
        lanes = _permuted(lanes)
    return b"".join(lanes[index % 5][index // 5].to_bytes(8, "little") for index in range(4))


def _permuted(lanes: list[list[int]]) -> list[list[int]]:
    for constant in _CONSTANTS:
        parity = [lane[0] ^ lane[1] ^ lane[2] ^ lane[3] ^ lane[4] for lane in lanes]
        mixed = [parity[(x - 1) % 5] ^ _rotated(parity[(x + 1) % 5], 1) for x in range(5)]
        moved = [[0] * 5 for _ in range(5)]
        for x in range(5):
            for y in range(5):
                moved[y][(2 * x + 3 * y) % 5] = _rotated(lanes[x][y] ^ mixed[x], _ROTATIONS[x][y])
        lanes = [
            [moved[x][y] ^ (~moved[(x + 1) % 5][y] & _MASK & moved[(x + 2) % 5][y]) for y in range(5)] for x in range(5)
        ]
        lanes[0][0] ^= constant
    return lanes


def _rotated(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & _MASK if by else word
