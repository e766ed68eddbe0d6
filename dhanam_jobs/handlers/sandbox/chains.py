"""An Ethereum node's JSON-RPC, an Esplora server for Bitcoin, and a server of coin prices."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dhanam_jobs.handlers.sandbox.wire import answer, json_of, world_of
from dhanam_jobs.handlers.sandbox.world import Chain, Json

_BLOCK_S = 12
_PAGE_ROWS = 25


async def ethereum(request: Request) -> Response:
    """POST: one call or a batch."""
    chain, asked = world_of(request).ethereum, await json_of(request)
    if isinstance(asked, list):
        return answer([_called(chain, each) for each in asked])
    if not isinstance(asked, dict):
        return answer({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "parse error"}})
    return answer(_called(chain, asked))


def _called(chain: Chain, call: Json) -> Json:
    reply: Json = {"jsonrpc": "2.0", "id": call.get("id")}
    method, params = call.get("method"), call.get("params", [])
    results: dict[str, Any] = {
        "eth_blockNumber": lambda: hex(chain.head),
        "eth_getBalance": lambda: hex(chain.balances.get(params[0].lower(), 0)),
        "eth_getBlockByNumber": lambda: _block(chain, int(params[0], 16)),
        "eth_getTransactionReceipt": lambda: _receipt(chain, params[0]),
    }
    if method not in results:
        return {**reply, "error": {"code": -32601, "message": f"the method {method} does not exist"}}
    return {**reply, "result": results[method]()}


def _block(chain: Chain, number: int) -> Json | None:
    if not 0 <= number <= chain.head:
        return None
    return {
        "number": hex(number),
        "hash": f"0x{number:064x}",
        "timestamp": hex(chain.first_time + number * _BLOCK_S),
        "transactions": chain.blocks.get(number, []),
    }


def _receipt(chain: Chain, hash_: str) -> Json | None:
    for number, entries in chain.blocks.items():
        for entry in entries:
            if entry["hash"] == hash_:
                return {
                    "transactionHash": hash_,
                    "blockNumber": hex(number),
                    "status": "0x0" if hash_ in chain.failed else "0x1",
                    "gasUsed": "0x5208",
                    "effectiveGasPrice": "0x3b9aca00",
                }
    return None


async def bitcoin_address(request: Request) -> Response:
    """GET /address/{a}: sums of what came in and what was spent."""
    address = request.path_params["address"]
    entries = world_of(request).bitcoin.get(address)
    if entries is None:
        return PlainTextResponse("Invalid Bitcoin address", 400)
    sums = {True: [0, 0, 0], False: [0, 0, 0]}
    for entry in entries:
        of = sums[entry["status"]["confirmed"]]
        of[0] += sum(out["value"] for out in entry["vout"] if out.get("scriptpubkey_address") == address)
        spent = (each["prevout"] for each in entry["vin"] if each.get("prevout"))
        of[1] += sum(out["value"] for out in spent if out.get("scriptpubkey_address") == address)
        of[2] += 1
    stats = {
        name: {"funded_txo_sum": of[0], "spent_txo_sum": of[1], "tx_count": of[2]}
        for name, of in (("chain_stats", sums[True]), ("mempool_stats", sums[False]))
    }
    return answer({"address": address, **stats})


async def bitcoin_history(request: Request) -> Response:
    """GET /address/{a}/txs and /address/{a}/txs/chain/{last}: newest first, 25 confirmed ones a page."""
    entries = world_of(request).bitcoin.get(request.path_params["address"])
    if entries is None:
        return PlainTextResponse("Invalid Bitcoin address", 400)
    waiting = [entry for entry in entries if not entry["status"]["confirmed"]]
    confirmed = [entry for entry in entries if entry["status"]["confirmed"]]
    confirmed.sort(key=lambda entry: -entry["status"]["block_height"])
    last = request.path_params.get("last")
    if last is None:
        return answer([*waiting, *confirmed[:_PAGE_ROWS]])
    ids = [entry["txid"] for entry in confirmed]
    start = ids.index(last) + 1 if last in ids else len(ids)
    return answer(confirmed[start : start + _PAGE_ROWS])


async def simple_price(request: Request) -> Response:
    """GET /simple/price: coins that have no price are left out, as CoinGecko leaves them out."""
    prices = world_of(request).prices
    ids = request.query_params.get("ids", "").split(",")
    return answer({coin: {"usd": prices[coin]} for coin in ids if coin in prices})


async def chart(request: Request) -> Response:
    """GET /coins/{id}/market_chart/range"""
    points = world_of(request).past_prices.get(request.path_params["coin"])
    if points is None:
        return answer({"error": "coin not found"}, 404)
    first, last = (int(request.query_params[name]) * 1000 for name in ("from", "to"))
    return answer({"prices": [point for point in points if first <= point[0] <= last]})


ROUTES = [
    Route("/ethereum", ethereum, methods=["POST"]),
    Route("/bitcoin/address/{address}", bitcoin_address),
    Route("/bitcoin/address/{address}/txs", bitcoin_history),
    Route("/bitcoin/address/{address}/txs/chain/{last}", bitcoin_history),
    Route("/prices/simple/price", simple_price),
    Route("/prices/coins/{coin}/market_chart/range", chart),
]
