// A client of TypeScript: types by openapi-typescript, requests by openapi-fetch. Sends a picture, fetches a QR code,
// prints the id of what was sent.
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

const [url, bea] = process.argv.slice(2) as [string, string];
const pixel = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==",
  "base64",
);
const api = createClient<paths>({ baseUrl: url });

const sent = await api.POST("/accounts/{id}/message/send/image", {
  params: { path: { id: "alice" } },
  body: { to: bea, caption: "typed", image: "" },
  bodySerializer(body) {
    const form = new FormData();
    form.set("to", String(body.to));
    form.set("caption", body.caption ?? "");
    form.set("image", new Blob([pixel], { type: "image/png" }), "pixel.png");
    return form;
  },
});
if (!sent.data) throw new Error(`not sent: ${JSON.stringify(sent.error)}`);

const code = await api.GET("/accounts/{id}/qr", {
  params: { path: { id: "bob" }, query: { format: "png" } },
  parseAs: "arrayBuffer",
});
if (!code.data || Buffer.from(code.data).subarray(1, 4).toString() !== "PNG") throw new Error("no PNG");

const page = await api.GET("/messages", { params: { query: { accountId: "alice", limit: 5 } } });
if (!page.data?.messages.some((message) => message.messageId === sent.data.messageId)) throw new Error("not listed");
process.stdout.write(sent.data.messageId);
