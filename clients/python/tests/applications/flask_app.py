import io
import os
import time

from flask import Blueprint, Flask, Response, send_file
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from arkyn_reporter import Reporter

app = Flask(__name__)
reporter = Reporter()
blueprint = Blueprint("shop", __name__, url_prefix="/shops/<shop>")


@app.get("/orders/<int:id>")
def order(id):
    return {"id": id, "process": os.getpid()}


@blueprint.get("/items/<path:name>")
def item(shop, name):
    return name


@app.get("/fail")
def fail():
    raise RuntimeError


@app.get("/hang")
def hang():
    time.sleep(30)


@app.get("/exit")
def leave():
    os._exit(1)


@app.get("/stream")
def stream():
    return Response((b"x" * 1000 for _ in range(5)), mimetype="text/plain")


@app.get("/file")
def file():
    return send_file(io.BytesIO(b"data"), "text/plain")


app.register_blueprint(blueprint)
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/mounted": app.wsgi_app})
app.wsgi_app = reporter.wsgi(app.wsgi_app)
