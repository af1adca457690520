// Receives webhooks and verifies them: HMAC with the public package `standardwebhooks`, ed25519 with Node's own crypto.
//
// receiver.js PORT SECRET|PUBLIC_KEY: whsec_... or whpk_... as GET /v1/webhooks/{id} shows it. Answers 204, or 401 to what is not signed.

const crypto = require("node:crypto");
const http = require("node:http");
const { Webhook } = require("standardwebhooks");

const TOLERANCE_SECONDS = 300;
// Bytes that stand before a raw ed25519 key in the form that Node reads (RFC 8410).
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

/** Throws unless the signature `v1a` is the key's. */
function verifyAsymmetric(publicKey, body, headers) {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures } = headers;
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= TOLERANCE_SECONDS)) {
    throw new Error("the timestamp is too old or too new");
  }
  const der = Buffer.concat([SPKI_PREFIX, Buffer.from(publicKey.slice("whpk_".length), "base64")]);
  const key = crypto.createPublicKey({ key: der, format: "der", type: "spki" });
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  const ours = (signatures ?? "").split(" ").filter((text) => text.startsWith("v1a,"));
  if (!ours.some((text) => crypto.verify(null, signed, key, Buffer.from(text.slice("v1a,".length), "base64")))) {
    throw new Error("no signature matches");
  }
}

const [port, secret] = process.argv.slice(2);
const verify = secret.startsWith("whpk_")
  ? (body, headers) => verifyAsymmetric(secret, body, headers)
  : (body, headers) => new Webhook(secret).verify(body.toString(), headers, { jsonParse: false });

http
  .createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      const body = Buffer.concat(parts);
      try {
        verify(body, request.headers);
        console.log(`${request.headers["webhook-id"]}: ${body}`);
        response.writeHead(204).end();
      } catch (error) {
        console.log(`refused: ${error.message}`);
        response.writeHead(401).end();
      }
    });
  })
  .listen(Number(port), "127.0.0.1");
