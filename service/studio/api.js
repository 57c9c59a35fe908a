// The service's API, as the studio uses it.

import { floatsOf } from "./base64.js";
import { Problem } from "./problem.js";
import { tokensIn } from "./tokenfile.js";
import { addressOf } from "./samples.js";
import { keep, kept } from "./kept.js";
import { upload } from "./upload.js";

const KEY = "stellar-key";
const SAFETENSORS = "application/vnd.safetensors";

/** @typedef {{fit: string, box?: string}} How how a photo gets the model's shape, and which part of it, as the service has it */
/** @typedef {{blob: Blob, timing: string}} Drawn a picture, and how long each part of its way took */

/** Talks to the service that the page came from. */
export class Api {
  /** @type {Promise<string | null> | null} */
  #asking = null;
  #key = kept("sessionStorage", KEY);

  /** @param {(reason: string) => Promise<string | null>} askKey how to ask for an API key */
  constructor(askKey) {
    this.askKey = askKey;
    this.base = new URL(".", document.baseURI);
  }

  /** Where it is and whether a key is in use, for calls by others. */
  get about() {
    return { base: this.base.href, keyed: this.#key !== null };
  }

  /** What is served. @returns {Promise<{default: string, models: any[]}>} */
  async models() {
    return (await this.#send("models")).json();
  }

  /** Whether the service is ready. @returns {Promise<boolean>} */
  async ready() {
    return fetch(new URL("healthz/ready", this.base)).then((answer) => answer.ok, () => false);
  }

  /** One of the sample photos. @param {string} name @returns {Promise<File>} */
  async sample(name) {
    const answer = await this.#send(addressOf(name));
    return new File([await answer.blob()], `${name}.jpg`, { type: "image/jpeg", lastModified: 0 });
  }

  /**
   * An image's tokens.
   * @param {Blob} file @param {string} model @param {How} how @param {AbortSignal} [signal]
   * @param {(share: number) => void} [told] how much of it has been sent, up to 1
   * @returns {Promise<{tokens: import("./tokens.js").Tokens, timing: string}>}
   */
  async tokens(file, model, how, signal, told) {
    const answer = await this.#sendImage(file, "tokens", { model, ...how }, SAFETENSORS, signal, told);
    const { tokens } = await tokensIn(await answer.blob());
    return { tokens, timing: answer.headers.get("server-timing") ?? "" };
  }

  /** An image's tokens as a safetensors file. @param {Blob} file @param {string} model @param {How} how */
  async safetensors(file, model, how) {
    return (await this.#sendImage(file, "tokens", { model, ...how }, SAFETENSORS)).blob();
  }

  /**
   * The picture of tokens after edits, as PNG.
   * @param {import("./tokens.js").Tokens} tokens @param {object[]} edits @param {string} model @param {AbortSignal} [signal]
   * @returns {Promise<Drawn>}
   */
  async reconstruct(tokens, edits, model, signal) {
    const body = JSON.stringify({
      model,
      edits,
      tokens: tokens.document,
    });
    const headers = { "content-type": "application/json", accept: "image/png" };
    const answer = await this.#send("reconstruct", { method: "POST", body, headers, signal });
    return { blob: await answer.blob(), timing: answer.headers.get("server-timing") ?? "" };
  }

  /**
   * A photo as a model draws it, and how close that comes to what the model saw of it, in dB.
   * @param {Blob} file @param {string} model @param {How} how @param {AbortSignal} [signal]
   * @returns {Promise<Drawn & {psnr: number}>}
   */
  async redraw(file, model, how, signal) {
    const answer = await this.#sendImage(file, "reconstruct", { model, ...how }, "image/png", signal);
    const { headers } = answer;
    return { blob: await answer.blob(), timing: headers.get("server-timing") ?? "", psnr: Number(headers.get("x-stellar-psnr-db")) };
  }

  /**
   * Vectors of several images, not normalized: D numbers for each, r × D with some poolings, or its problem.
   * @param {Blob[]} files @param {string} model @param {How} how @param {string} pooling @param {AbortSignal} [signal]
   * @returns {Promise<(Float32Array | Problem)[]>}
   */
  async embed(files, model, how, pooling, signal) {
    const body = new FormData();
    for (const file of files) body.append("image", file);
    const options = { model, ...how, pooling, normalize: "false", encoding_format: "base64" };
    for (const [name, value] of Object.entries(options)) body.append(name, value);
    const answer = await this.#send("embed", { method: "POST", body, signal });
    const { data } = await answer.json();
    return data.map((item) => (item.error ? Problem.ofItem(item.error) : floatsOf(item.embedding)));
  }

  #sendImage(file, route, options, accept, signal, told) {
    const headers = { "content-type": file.type.startsWith("image/") ? file.type : "application/octet-stream", accept };
    return this.#send(`${route}?${new URLSearchParams(options)}`, { method: "POST", body: file, headers, signal, told });
  }

  /** @returns {Promise<Response>} a good answer @throws {Problem} @throws {DOMException} where it was aborted */
  async #send(path, options = {}) {
    for (;;) {
      const key = this.#key;
      const headers = { ...options.headers, ...(key === null ? {} : { authorization: `Bearer ${key}` }) };
      const send = options.told ? upload : fetch;
      const answer = await send(new URL(path, this.base), { ...options, headers }).catch((error) => {
        if (error.name === "AbortError") throw error;
        throw new Problem("The service does not answer.", { code: "unreachable" });
      });
      if (answer.ok) return answer;
      const problem = await Problem.from(answer);
      // Another request may have brought a key in the meantime.
      const renewed = this.#key !== key;
      if (answer.status !== 401 || !(renewed || (await this.#ask(problem.message)))) throw problem;
    }
  }

  /** One question at a time, whoever needs the answer. */
  async #ask(reason) {
    this.#asking ??= this.askKey(reason).finally(() => (this.#asking = null));
    const key = await this.#asking;
    if (key === null) return false;
    this.#key = key;
    keep("sessionStorage", KEY, key);
    return true;
  }
}
