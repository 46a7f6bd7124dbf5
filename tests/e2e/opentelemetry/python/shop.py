"""An application that knows nothing of OpenTelemetry."""

from flask import Flask

app = Flask(__name__)


@app.get("/orders/<int:number>")
def get_order(number: int) -> tuple[str, int]:
    return f"Order {number}", 200 if number < 100 else 503


@app.post("/broken")
def break_down() -> str:
    raise RuntimeError("canary")
