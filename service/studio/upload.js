// A request that tells how much of it has been sent: fetch can't.

/**
 * @param {URL} address
 * @param {{method: string, body: Blob, headers: Record<string, string>, signal?: AbortSignal, told: (share: number) => void}} options
 * @returns {Promise<Response>} @throws {DOMException | TypeError} as fetch does
 */
export function upload(address, { method, body, headers, signal, told }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, address);
    request.responseType = "blob";
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => told(loaded / total);
    request.onload = () => resolve(new Response(request.response, { status: request.status, headers: headersOf(request) }));
    request.onerror = () => reject(new TypeError("nobody answers"));
    request.onabort = () => reject(new DOMException("aborted", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    if (signal?.aborted) return request.onabort();
    request.send(body);
  });
}

/** @param {XMLHttpRequest} request @returns {[string, string][]} */
function headersOf(request) {
  const lines = request.getAllResponseHeaders().trim().split("\r\n");
  return lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]);
}
