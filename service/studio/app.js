// The studio: what happens in the browser when the page opens.

import { Api } from "./api.js";
import { Card } from "./card.js";
import { Compare } from "./compare.js";
import { Connection } from "./connection.js";
import { Crop } from "./crop.js";
import { EditList } from "./editlist.js";
import { Guide } from "./guide.js";
import { HandOut } from "./handout.js";
import { Inspector } from "./inspector.js";
import { Problem } from "./problem.js";
import { Result } from "./result.js";
import { Search } from "./search.js";
import { Session } from "./session.js";
import { Stage } from "./stage.js";
import { Studio } from "./studio.js";
import { Tray } from "./tray.js";
import { Zoom } from "./zoom.js";
import { askKey } from "./keydialog.js";
import { byId, element } from "./element.js";
import { chooseFiles, takeFilesAnywhere } from "./intake.js";
import { FIRST_SAMPLE, offerSamples } from "./samples.js";
import { sharedIn, sharedInFile } from "./link.js";
import { showNotices } from "./notices.js";
import { switchThemes, switchViews } from "./views.js";

const api = new Api(askKey);
const connection = new Connection(api);
const studio = new Studio(api, connection);
const stage = new Stage(studio);
const inspector = new Inspector(studio);
new Zoom(studio, stage);
new Crop(studio);
new Result(studio, stage);
new Card(studio);
new Guide(studio);
new Tray(studio, stage, () => inspector.drop());
new EditList(studio);
new HandOut(studio);
const search = new Search(studio);
const compare = new Compare(studio);
const session = new Session();
const KEPT_CONTROLS = ["show-regions", "opacity", "brush", "split"];
let view = "edit";

showNotices(studio.messages, connection);
switchThemes();
const openView = switchViews((name) => {
  view = name;
  if (studio.photo) save();
  if (name === "search") search.open();
  if (name === "compare") compare.open();
});

const openSample = (name) => studio.arrivals.open(null, name);
const openSecondSample = (name) => studio.arrivals.openSecond(null, name);
chooseFiles("choose", "file", ([file]) => studio.arrivals.open(file));
chooseFiles("load-saved", "saved-file", ([file]) => openFile(file));
chooseFiles("second-choose", "second-file", ([file]) => studio.arrivals.openSecond(file));
offerSamples(byId("samples"), "Open", openSample);
offerSamples(byId("second-samples"), "Second photo", openSecondSample);
takeFilesAnywhere(async (coming, over) => {
  const files = (await coming).filter((file) => !file.name.startsWith("."));
  if (!files.length) return;
  if (view === "search" || files.length > 1) {
    openView("search");
    void search.add(files);
  } else if (over.closest("#second")) void studio.arrivals.openSecond(files[0]);
  else void openFile(files[0]);
});

/** A photo, tokens, or edits, as they are dropped. @param {File} file */
async function openFile(file) {
  if (!/\.json$/i.test(file.name)) return studio.arrivals.open(file);
  try {
    await follow(await sharedInFile(file), "This file");
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    studio.messages.report(new Problem(error.message));
  }
}
byId("model").addEventListener("change", (event) => studio.arrivals.useModel(event.target.value));
const showModels = () => {
  const options = studio.models.all.map((model) => element("option", { value: model.name }, `${model.name} · ${model.precision}`));
  byId("model").replaceChildren(...options);
  byId("model").value = studio.model;
  byId("model").parentElement.hidden = options.length < 2;
};
studio.addEventListener("models", showModels);
studio.arrivals.addEventListener("change", showModels);
document.querySelector(".skip").addEventListener("click", (event) => {
  // The address is the edit's link: it stays.
  event.preventDefault();
  byId("main").focus();
});

/** What this tab shows beside its steps. */
const lookNow = () => ({
  address: location.hash,
  view,
  selection: studio.selection,
  controls: Object.fromEntries(KEPT_CONTROLS.map((id) => [id, byId(id).type === "checkbox" ? byId(id).checked : byId(id).value])),
});

/** @param {any} look */
function restoreLook({ view: shown, controls }) {
  for (const id of KEPT_CONTROLS) {
    byId(id)[byId(id).type === "checkbox" ? "checked" : "value"] = controls[id];
    byId(id).dispatchEvent(new Event("input"));
  }
  if (shown !== "edit") openView(shown);
}

byId("forget").addEventListener("click", async () => {
  await session.forget();
  location.replace(location.pathname);
});

const save = () => session.save(() => ({ history: studio.history, look: lookNow() }));
for (const kind of ["edits", "donors", "selection"]) studio.addEventListener(kind, () => studio.history.drafting || save());
for (const id of KEPT_CONTROLS) byId(id).addEventListener("change", save);

/** Show what this tab showed before, what the address names, or the first sample. */
async function begin() {
  // The page writes the address as soon as it shows something.
  const address = location.hash;
  try {
    await studio.start();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    byId("waiting").textContent = "Nothing to show yet.";
    if (error.passes) connection.retry("start", error, begin);
    else studio.messages.report(error);
    return;
  }
  const before = studio.photo ? null : await session.load();
  if (before && (await studio.restore(before.steps, before.at, before.look.selection))) restoreLook(before.look);
  if (address.startsWith("#edit=") && address !== before?.look.address) await followLink(address);
  else if (!studio.photo) await arrive();
}

/** Show the first sample, and offer what was edited in a tab that is closed. */
async function arrive() {
  const [latest] = await Promise.all([session.latest(), openSample(FIRST_SAMPLE)]);
  // Somebody may be faster.
  if (!latest || studio.history.steps.length !== 1) return;
  const { photo } = latest.steps[latest.at].scene;
  studio.messages.suggest(`You edited ${photo.name} in this browser before.`, "Go on with it", () => studio.restore(latest.steps, latest.at, []));
}

/** @param {string} address what stands behind # */
async function followLink(address) {
  let shared;
  try {
    shared = sharedIn(address);
  } catch (error) {
    if (!studio.photo) await openSample(FIRST_SAMPLE);
    studio.messages.report(new Problem(error.message));
    return;
  }
  await follow(shared, "This link");
}

/** Show what a link or a file brings. @param {import("./link.js").Shared} shared @param {string} what which of the two */
async function follow(shared, what) {
  await studio.arrivals.follow(shared);
  if (studio.arrivals.pending) {
    const many = shared.edits.length;
    byId("waiting").textContent = `${what} brings ${many} edit${many > 1 ? "s" : ""}. Open ${shared.name} to see ${many > 1 ? "them" : "it"}.`;
    byId("waiting").hidden = false;
  }
  if (!studio.models.has(shared.model)) {
    studio.messages.report(new Problem(`${what} was made with the model ${shared.model}, which is not served here: ${studio.model} shows something else.`));
  }
}

addEventListener("hashchange", () => location.hash.startsWith("#edit=") && followLink(location.hash));
void begin();
