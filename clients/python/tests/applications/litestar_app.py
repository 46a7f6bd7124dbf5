from litestar import Litestar, Router, get
from litestar.response import Stream

from arkyn_reporter import Reporter


@get("/orders/{id:int}")
async def order(id: int) -> dict:
    return {"id": id}


@get("/items/{name:path}")
async def item(shop: str, name: str) -> str:
    return name


@get("/fail")
async def fail() -> None:
    raise RuntimeError


@get("/stream")
async def stream() -> Stream:
    async def parts():
        for _ in range(5):
            yield b"x" * 1000

    return Stream(parts(), media_type="text/plain")


reporter = Reporter()
app = Litestar(route_handlers=[order, Router(path="/shops/{shop:str}", route_handlers=[item]), fail, stream])
app = reporter.asgi(app)
