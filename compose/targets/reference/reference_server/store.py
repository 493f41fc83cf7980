"""Calls to the store, each bounded in time, over pooled connections that are replaced when one of them breaks."""

from typing import Any

import anyio
import httpx

TIMEOUT = httpx.Timeout(connect=1.0, read=3.0, write=1.0, pool=1.0)
LIMITS = httpx.Limits(max_connections=64, max_keepalive_connections=16)
# Errors after which a call is sent once more. A late answer is not among them: more calls do not help a slow store.
RETRIED = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout)


class StoreError(Exception):
    """The store did not do what was asked; the message says why."""


class _Pool:
    """A connection pool, and how many calls use it now."""

    def __init__(self, url: str, tls: Any) -> None:
        self.http = httpx.AsyncClient(
            base_url=url, timeout=TIMEOUT, limits=LIMITS, verify=tls, trust_env=False
        )
        self.users = 0


class Store:
    """The REST interface of one Qdrant. Use it inside one event loop."""

    def __init__(self, url: str) -> None:
        # One context for all pools: making it costs more CPU time than a search.
        self._url, self._tls = url, httpx.create_ssl_context(trust_env=False)
        self._pool = _Pool(url, self._tls)

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """The `result` of the store's answer; raises StoreError.

        Every call must be idempotent, because it is sent once more on a fresh connection when its own one broke.
        """
        try:
            try:
                answer = await self._send(method, path, body)
            except RETRIED:
                answer = await self._send(method, path, body)
        except httpx.TransportError as error:
            raise StoreError(f"the store did not answer: {type(error).__name__} {error}".strip()) from error
        if not answer.is_success:
            raise StoreError(f"the store answered HTTP {answer.status_code}: {answer.text[:200]}")
        try:
            return answer.json()["result"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"the store's answer has no result: {answer.text[:200]}") from error

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.http.aclose()

    async def _send(self, method: str, path: str, body: object) -> httpx.Response:
        pool = self._pool
        pool.users += 1
        try:
            return await pool.http.request(method, path, json=body)
        except httpx.TransportError:
            # After an outage every idle connection may be dead, not only this one.
            if pool is self._pool:
                self._pool = _Pool(self._url, self._tls)
            raise
        finally:
            pool.users -= 1
            if pool is not self._pool and not pool.users:
                with anyio.CancelScope(shield=True):
                    await pool.http.aclose()
