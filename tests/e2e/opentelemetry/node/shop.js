// An application that knows nothing of OpenTelemetry.
const express = require("express");

const app = express();

app.get("/orders/:number", (request, response) => {
  response.status(request.params.number < 100 ? 200 : 503).send(`Order ${request.params.number}`);
});

app.post("/broken", () => {
  throw new Error("canary");
});

app.listen(Number(process.env.PORT), "127.0.0.1");
