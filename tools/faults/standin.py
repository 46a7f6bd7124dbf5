"""The stand-in for Discord with lasting faults, of one destination or of the network."""

import asyncio
from collections.abc import Awaitable

from aiohttp import web

from tools.fake_discord import Discord, Fault


class FaultyDiscord(Discord):
    def reset(self) -> None:
        super().reset()
        # Lasting faults by destination.
        self.outages: dict[str, Fault] = {}

    def cut_off(self) -> None:
        """Break all connections and refuse new ones until ``reconnect``."""
        self._run(self._cut_off())

    def reconnect(self) -> None:
        self._run(self._reconnect())

    def _next_fault(self, destination: str) -> Fault | None:
        return self.outages.get(destination) or super()._next_fault(destination)

    async def _cut_off(self) -> None:
        self._port = self._runner.addresses[0][1]
        for site in list(self._runner.sites):
            await site.stop()
        assert self._runner.server is not None
        for connection in self._runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def _reconnect(self) -> None:
        await web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=1024).start()

    def _run(self, step: Awaitable[None]) -> None:
        async def run() -> None:
            await step

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)
