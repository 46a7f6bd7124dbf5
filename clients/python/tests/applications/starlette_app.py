import os

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

from arkyn_reporter import Reporter


async def order(request):
    return PlainTextResponse(str(os.getpid()))


async def fail(request):
    raise RuntimeError


async def stream(request):
    async def parts():
        for _ in range(5):
            yield b"x" * 1000

    return StreamingResponse(parts(), media_type="text/plain")


async def socket(socket):
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


reporter = Reporter()
app = Starlette(
    routes=[
        Route("/orders/{id:int}", order),
        Mount("/shops/{shop}", routes=[Route("/items/{name:path}", order)]),
        Route("/fail", fail),
        Route("/stream", stream),
        WebSocketRoute("/socket", socket),
    ]
)
app = reporter.asgi(app)
