// The page: takes a song, shows progress, and opens the player. common.js and files.js of
// openunmix/web/static come before; they define byId, make, setText, clock, roughly, megabytes
// and takeFiles.
import { downloadZip } from "client-zip";
import { check, Job } from "./job.js";
import { closePlayer, openPlayer } from "./player.js";
import { emptyFolder, openFolder, removeFolder } from "./storage.js";

let site = null; // site.json: models, licence
let folder = null; // of files on disk
let job = null;
let result = null;
let startedAt = 0; // of the separation

function show(view) {
  document.body.dataset.view = view; // "choose", "work" or "result"
}

function tell(text) {
  byId("problem").hidden = !text;
  setText(byId("problem"), text);
}

const chosenModel = () => site.models.find((model) => model.file === byId("model").value);

// ---- A song

async function start([file]) {
  if (!file || job || !site) return;
  tell("");
  closeResult();
  setText(byId("name"), file.name);
  show("work");
  const model = chosenModel();
  startedAt = 0;
  job = new Job(file, model, folder, report);
  try {
    result = await job.result;
    if (!result) return show("choose");
    await open(file.name.replace(/\.[^.]+$/, ""), model);
  } catch (error) {
    show("choose");
    tell(error.message);
  } finally {
    job = null;
  }
}

function report({ stage, done = 0, total = 0 }) {
  const bar = byId("bar");
  if (stage === "decoding") {
    bar.removeAttribute("value");
    return setText(byId("state"), "Decoding…");
  }
  bar.value = total ? done / total : 0;
  if (stage === "loading") {
    return setText(byId("state"), `Loading the model, ${megabytes(done)} of ${megabytes(total)}`);
  }
  if (!startedAt) startedAt = performance.now();
  if (done === total) return setText(byId("state"), "Preparing the player…");
  setText(byId("state"), `${clock(done)} of ${clock(total)}${timeLeft(done, total)}`);
}

function timeLeft(done, total) {
  if (!done) return "";
  const seconds = (performance.now() - startedAt) / 1000;
  return `, about ${roughly((seconds / done) * (total - done))} left`;
}

// ---- The result

async function open(title, model) {
  const seconds = (performance.now() - startedAt) / 1000;
  const details = [
    ["Model", `${model.name}, ${model.precision}, with the Wiener filter`],
    ["Licence of the weights", model.licence],
    ["Made", `in this browser, at ${(result.samples / model.sample_rate / seconds).toFixed(1)} times real time; nothing was uploaded`],
    ["Audio", `WAV, 16 bit, ${model.sample_rate / 1000} kHz${scaled(result.loudest)}`],
  ];
  byId("zip").onclick = () => saveAll(title, model);
  show("result");
  await openPlayer(title, model, result, details);
}

function scaled(loudest) {
  return loudest > 1 ? `; all stems scaled by ${(1 / loudest).toFixed(3)} to avoid clipping` : "";
}

async function saveAll(title, model) {
  const stems = model.targets.map((name, i) => ({ name: `${title}/${name}.wav`, input: result.files[i] }));
  const href = URL.createObjectURL(await downloadZip(stems).blob());
  make("a", { href, download: `${title}.zip` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

function closeResult() {
  if (!result) return;
  closePlayer();
  result = null;
  show("choose");
}

// ---- Start

async function setUp() {
  takeFiles(start);
  byId("cancel").onclick = () => job?.cancel();
  byId("back").onclick = () => {
    closeResult();
    emptyFolder(folder);
    byId("files").focus();
  };
  check();
  folder = await openFolder();
  addEventListener("pagehide", () => removeFolder(folder));
  site = await (await fetch("site.json")).json();
  byId("model").replaceChildren(
    ...site.models.map(({ name, file, size, precision }) => new Option(`${name}, ${precision}, ${megabytes(size)}`, file)),
  );
  const wanted = new URLSearchParams(location.search).get("precision");
  const model = site.models.find(({ precision }) => precision === wanted);
  if (model) byId("model").value = model.file;
  for (const element of document.querySelectorAll(".licence")) setText(element, site.models[0].licence);
  if ("serviceWorker" in navigator) navigator.serviceWorker.register("service-worker.js");
  byId("files").disabled = false;
}

show("choose");
setUp().catch((error) => tell(error.message));
