from quart import Blueprint, Quart, Response

from arkyn_reporter import Reporter

app = Quart(__name__)
shops = Blueprint("shops", __name__, url_prefix="/shops/<shop>")


@app.get("/orders/<int:id>")
async def order(id):
    return {"id": id}


@shops.get("/items/<path:name>")
async def item(shop, name):
    return name


@app.get("/fail")
async def fail():
    raise RuntimeError


@app.get("/stream")
async def stream():
    async def parts():
        for _ in range(5):
            yield b"x" * 1000

    return Response(parts(), mimetype="text/plain")


app.register_blueprint(shops)
reporter = Reporter()
app.asgi_app = reporter.asgi(app.asgi_app)
