// What the studio just did, as calls that anybody can make.

/**
 * @typedef {object} Call
 * @property {string} base the service's address, with a slash at its end
 * @property {string} model the model, or "" for the default one
 * @property {boolean} keyed whether the service wants a key
 * @property {{name: string, sample: string}} photo
 * @property {{name: string, sample: string}[]} donors
 * @property {object[]} edits
 */

/** @param {Call} call @returns {string} lines for a shell */
export function curl({ base, model, keyed, photo, donors, edits }) {
  const fetched = [...new Set([photo, ...donors].map((file) => file.sample).filter(Boolean))].map(
    (sample) => `curl -O ${quoted(`${base}studio/samples/${sample}.jpg`)}`,
  );
  const parts = [
    "curl",
    ...(keyed ? ['-H "Authorization: Bearer $STELLAR_API_KEY"'] : []),
    `-F ${quoted(`image=@${formName(photo.name)}`)}`,
    ...donors.map((donor) => `-F ${quoted(`donor=@${formName(donor.name)}`)}`),
    ...(model ? [`-F ${quoted(`model=${model}`)}`] : []),
    ...(edits.length ? [`-F ${quoted(`edits=${JSON.stringify(edits)}`)}`] : []),
    `${quoted(`${base}reconstruct`)} -o out.png`,
  ];
  return [...fetched, parts.join(" \\\n  ")].join("\n");
}

/** @param {Call} call @returns {string} a program; it needs httpx */
export function python({ base, model, keyed, photo, donors, edits }) {
  const contents = ({ name, sample }) =>
    sample ? `httpx.get(${literal(`${base}studio/samples/${sample}.jpg`)}).content` : `open(${literal(name)}, "rb")`;
  const files = [["image", photo], ...donors.map((donor) => ["donor", donor])].map(
    ([field, file]) => `        (${literal(field)}, ${contents(file)}),`,
  );
  const data = [
    ...(model ? [`"model": ${literal(model)}`] : []),
    ...(edits.length ? ['"edits": json.dumps(edits)'] : []),
  ];
  const lines = [
    ...(edits.length ? ["import json"] : []),
    ...(keyed ? ["import os"] : []),
    ...(edits.length || keyed ? [""] : []),
    "import httpx",
    "",
    ...(edits.length ? ["edits = [", ...edits.map((edit) => `    ${literal(edit)},`), "]"] : []),
    "answer = httpx.post(",
    `    ${literal(`${base}reconstruct`)},`,
    ...(keyed ? ['    headers={"Authorization": f"Bearer {os.environ[\'STELLAR_API_KEY\']}"},'] : []),
    "    files=[",
    ...files,
    "    ],",
    ...(data.length ? [`    data={${data.join(", ")}},`] : []),
    ")",
    "answer.raise_for_status()",
    'open("out.png", "wb").write(answer.content)',
  ];
  return lines.join("\n");
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
