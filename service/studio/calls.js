// What the studio just did, as calls that anybody can make.

/**
 * @typedef {object} Call
 * @property {string} base the service's address, with a slash at its end
 * @property {boolean} keyed whether the service wants a key
 * @property {string} route
 * @property {[string, {name: string, sample: string}][]} files the form's fields that carry a photo
 * @property {Record<string, any>} fields its other fields; those without a value are left out
 * @property {string} out the file for the answer
 */

/** @param {Call[]} calls @returns {string} lines for a shell */
export function curl(calls) {
  const samples = new Set(calls.flatMap(({ base, files }) => files.flatMap(([, file]) => (file.sample ? addressOf(base, file) : []))));
  // A folder of their own: files beside the caller's may have the same names.
  const fetches = [...samples].map((address) => `curl ${quoted(address)} -o "$samples"/${quoted(baseName(address))}`);
  return [...(samples.size ? ["samples=$(mktemp -d)", ...fetches] : []), ...calls.map(curlOf)].join("\n");
}

/** @param {Call} call */
function curlOf({ base, keyed, route, files, fields, out }) {
  return [
    "curl",
    ...(keyed ? ['-H "Authorization: Bearer $STELLAR_API_KEY"'] : []),
    ...files.map(([field, file]) =>
      file.sample ? `-F ${field}=@"$samples"/${file.sample}.jpg` : `-F ${quoted(`${field}=@${formName(file.name)}`)}`),
    ...given(fields).map(([name, value]) => `-F ${quoted(`${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)}`),
    `${quoted(`${base}${route}`)} -o ${quoted(out)}`,
  ].join(" \\\n  ");
}

/** @param {Call[]} calls @returns {string} a program; it needs httpx */
export function python(calls) {
  const edited = calls.some(({ fields }) => "edits" in Object.fromEntries(given(fields)));
  const standard = [...(edited ? ["import json"] : []), ...(calls.some(({ keyed }) => keyed) ? ["import os"] : [])];
  return [...standard, ...(standard.length ? [""] : []), "import httpx", "", ...calls.flatMap(pythonOf)].join("\n");
}

/** @param {Call} call @returns {string[]} */
function pythonOf({ base, keyed, route, files, fields, out }) {
  const contents = (file) => (file.sample ? `httpx.get(${literal(addressOf(base, file))}).content` : `open(${literal(file.name)}, "rb")`);
  const data = given(fields).map(([name, value]) => `${literal(name)}: ${name === "edits" ? "json.dumps(edits)" : literal(value)}`);
  const edits = Object.fromEntries(given(fields)).edits;
  return [
    ...(edits ? ["edits = [", ...edits.map((edit) => `    ${literal(edit)},`), "]"] : []),
    "answer = httpx.post(",
    `    ${literal(`${base}${route}`)},`,
    ...(keyed ? ['    headers={"Authorization": f"Bearer {os.environ[\'STELLAR_API_KEY\']}"},'] : []),
    "    files=[",
    ...files.map(([field, file]) => `        (${literal(field)}, ${contents(file)}),`),
    "    ],",
    ...(data.length ? [`    data={${data.join(", ")}},`] : []),
    ")",
    "answer.raise_for_status()",
    `open(${literal(out)}, "wb").write(answer.content)`,
  ];
}

/** The fields that say something. @param {Record<string, any>} fields @returns {[string, any][]} */
function given(fields) {
  return Object.entries(fields).filter(([, value]) => value?.length);
}

/** Where a sample photo is. @param {string} base @param {{sample: string}} file */
function addressOf(base, { sample }) {
  return `${base}studio/samples/${sample}.jpg`;
}

/** @param {string} address */
function baseName(address) {
  return address.slice(address.lastIndexOf("/") + 1);
}

/** A value for Python: JSON without true, false and null is Python already. */
function literal(value) {
  return JSON.stringify(value, null, 1).replace(/\n */g, " ").replace(/([[{]) /g, "$1").replace(/ ([\]}])/g, "$1");
}

/** A word for the shell. @param {string} text */
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A file name within curl's -F, where ; and , and quotes mean something. @param {string} name */
function formName(name) {
  return /[;,"\\]/.test(name) ? `"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"` : name;
}
