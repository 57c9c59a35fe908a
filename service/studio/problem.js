// What went wrong, as a sentence, and what to do about it.

const ADVICE = {
  bad_edit: "Undo the last edit, or reset them all.",
  too_many_edits: "Take one back first.",
  bad_tokens: "The model may have changed since the photo was opened: open the photo again.",
  too_many_images: "Send fewer at once.",
  bad_image: "Try another file.",
  empty_image: "The file is empty: choose another one.",
  unknown_image_format: "Save it as JPEG, PNG or WebP and try again.",
  unsupported_image: "Open it in an image program and save it as PNG or JPEG.",
  bad_token_file: "Save it by this page, or by /tokens with storage=full.",
  corrupt_image: "Open it in an image program and save it again, or choose another file.",
  too_many_pixels: "Make it smaller and try again.",
  body_too_large: "Make the file smaller and try again.",
  json_too_large: "Undo some edits and try again.",
  unauthorized: "Reload the page to enter another key.",
  unknown_model: "Reload the page to see which models are served.",
  queue_full: "Wait a moment and try again.",
  queue_unavailable: "Wait a moment; it is tried again by itself.",
  no_worker: "Wait until a worker runs; it is tried again by itself.",
  engine_unavailable: "Wait a moment; it is tried again by itself.",
  not_ready: "Wait a moment; it is tried again by itself.",
  deadline_exceeded: "Try again; a smaller picture takes less time.",
  internal_error: "Try again; the service's log has the reason.",
};

/** An answer that is none, or one that says no. */
export class Problem extends Error {
  /**
   * @param {string} detail what went wrong
   * @param {{code?: string, status?: number, requestId?: string, retryAfter?: number}} [about]
   */
  constructor(detail, { code = "", status = 0, requestId = "", retryAfter = 0 } = {}) {
    super(detail);
    this.code = code;
    this.status = status;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may work in a while: nobody answered, or somebody said "later". */
  get passes() {
    return this.code === "unreachable" || this.status === 503;
  }

  /** The whole sentence. */
  get sentence() {
    const request = this.status >= 500 && this.requestId ? ` Request ${this.requestId}.` : "";
    return [closed(this.message), ADVICE[this.code] ?? ""].join(" ").trim() + request;
  }

  /** @param {Response} response @returns {Promise<Problem>} */
  static async from(response) {
    const told = await response.json().catch(() => ({}));
    return new Problem(told.detail ?? `The service answered ${response.status}.`, {
      code: told.code,
      status: response.status,
      requestId: told.request_id ?? response.headers.get("x-request-id") ?? "",
      retryAfter: Number(response.headers.get("retry-after")) || 0,
    });
  }

  /** An item's error in the answer to a batch. */
  static ofItem(error) {
    return new Problem(error.detail, { code: error.code, status: error.status, requestId: error.request_id });
  }
}

/** @param {string} text a sentence with or without its end */
function closed(text) {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}
