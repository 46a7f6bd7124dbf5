import os

from fastapi import APIRouter, FastAPI
from fastapi.responses import StreamingResponse

from arkyn_reporter import Reporter

app = FastAPI()
shops = APIRouter(prefix="/shops/{shop}")
inner = FastAPI()


@app.get("/orders/{id}")
def order(id: int):
    return {"id": id, "process": os.getpid()}


@shops.get("/items/{name:path}")
async def item(shop: str, name: str):
    return name


@app.get("/fail")
def fail():
    raise RuntimeError


@app.get("/stream")
async def stream():
    async def parts():
        for _ in range(5):
            yield b"x" * 1000

    return StreamingResponse(parts(), media_type="text/plain")


@inner.get("/orders/{id}")
def inner_order(id: int):
    return id


app.include_router(shops)
app.mount("/mounted", inner)
reporter = Reporter()
app = reporter.asgi(app)
