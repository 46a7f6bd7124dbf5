// Makes a request that fails, through arkyn's SDK, which reports it. node ends once the report was answered.
import { createServer } from "node:http";
import { ApiService, LogService } from "@arkyn/server";

const { TRAFFIC_SOURCE_ID, USER_TOKEN, LOG_BASE_API_URL } = process.env;

LogService.setConfig({
  trafficSourceId: TRAFFIC_SOURCE_ID,
  userToken: USER_TOKEN,
  logBaseApiUrl: LOG_BASE_API_URL,
});

const failing = createServer((request, response) => {
  response.writeHead(500, { "Content-Type": "application/json" });
  response.end(JSON.stringify({ message: "Out of stock" }));
});

failing.listen(0, "127.0.0.1", async () => {
  const api = new ApiService({ baseUrl: `http://127.0.0.1:${failing.address().port}` });
  const answer = await api.post("/orders/42?page=1", { body: { item: "book" }, token: "token-of-the-app" });
  console.log(`${answer.status} ${answer.message}`);
  failing.closeAllConnections();
  failing.close();
});
