// The studio: what happens in the browser when the page opens.

import { Api } from "./api.js";
import { Compare } from "./compare.js";
import { Connection } from "./connection.js";
import { EditList } from "./editlist.js";
import { HandOut } from "./handout.js";
import { Inspector } from "./inspector.js";
import { Problem } from "./problem.js";
import { Result } from "./result.js";
import { Search } from "./search.js";
import { Stage } from "./stage.js";
import { Studio } from "./studio.js";
import { Tray } from "./tray.js";
import { askKey } from "./keydialog.js";
import { byId, element } from "./element.js";
import { chooseFiles, takeFilesAnywhere } from "./intake.js";
import { FIRST_SAMPLE, offerSamples } from "./samples.js";
import { sharedIn } from "./link.js";
import { showNotices } from "./notices.js";
import { switchThemes, switchViews } from "./views.js";

const api = new Api(askKey);
const connection = new Connection(api);
const studio = new Studio(api, connection);
const stage = new Stage(studio);
const inspector = new Inspector(studio);
new Result(studio);
new Tray(studio, stage, () => inspector.drop());
new EditList(studio);
new HandOut(studio);
const search = new Search(studio);
const compare = new Compare(studio);
let view = "edit";

showNotices(studio, connection);
switchThemes();
const openView = switchViews((name) => {
  view = name;
  if (name === "search") search.open();
  if (name === "compare") compare.open();
});

const openSample = (name) => studio.open(null, name);
const openSecondSample = (name) => studio.openSecond(null, name);
chooseFiles("choose", "file", ([file]) => studio.open(file));
chooseFiles("second-choose", "second-file", ([file]) => studio.openSecond(file));
offerSamples(byId("samples"), "Open", openSample);
offerSamples(byId("second-samples"), "Second photo", openSecondSample);
takeFilesAnywhere(async (coming, over) => {
  const files = (await coming).filter((file) => !file.name.startsWith("."));
  if (!files.length) return;
  if (view === "search" || files.length > 1) {
    openView("search");
    void search.add(files);
  } else if (over.closest("#second")) void studio.openSecond(files[0]);
  else void studio.open(files[0]);
});
byId("model").addEventListener("change", (event) => studio.useModel(event.target.value));
studio.addEventListener("models", () => {
  const options = studio.models.map((model) => element("option", { value: model.name }, `${model.name} · ${model.precision}`));
  byId("model").replaceChildren(...options);
  byId("model").value = studio.model;
  byId("model").parentElement.hidden = options.length < 2;
});

/** Open what the address names: a shared edit on its sample, or the first sample. */
async function begin() {
  let shared = null;
  let damage = null;
  try {
    shared = sharedIn(location.hash);
  } catch (error) {
    damage = new Problem(error.message);
  }
  studio.pending = shared;
  try {
    await studio.start();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    byId("waiting").textContent = "Nothing to show yet.";
    if (error.passes) connection.retry("start", error, begin);
    else studio.report(error);
    return;
  }
  if (shared && shared.model !== studio.model) {
    damage = new Problem(`The link was made with the model ${shared.model}, which is not served here: ${studio.model} shows something else.`);
  }
  if (shared && !shared.sample && shared.name !== studio.photo?.name) {
    const many = shared.edits.length;
    byId("waiting").textContent = `This link brings ${many} edit${many > 1 ? "s" : ""}. Open ${shared.name} to see ${many > 1 ? "them" : "it"}.`;
    byId("waiting").hidden = false;
  } else {
    await (shared && !shared.sample ? studio.open(studio.photo.file) : openSample(shared?.sample || FIRST_SAMPLE));
    for (const donor of shared?.donors ?? []) if (donor.sample && !donor.self) await openSecondSample(donor.sample);
  }
  if (damage) studio.report(damage);
}

addEventListener("hashchange", begin);
void begin();
