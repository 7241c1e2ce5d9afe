// The page of umx-serve: uploads files, and shows the queue. common.js and files.js come before.
"use strict";

const list = byId("jobs");
const jobs = new Map(); // last state and when it arrived, by id
const rows = new Map(); // list items, by id
const uploads = []; // files that wait to be sent
let limits = null;
let models = [];

// Text

function day(date) {
  return new Date(date).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// Requests

async function ask(path, options) {
  const answer = await fetch(path, options);
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const problem = await answer.json().catch(() => ({ detail: answer.statusText }));
  throw new Error(problem.detail);
}

// XMLHttpRequest, because fetch does not report the progress of uploads.
function send(upload) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    upload.request = request;
    request.upload.onprogress = (event) => {
      upload.sent = event.loaded / event.total;
      draw(upload.id);
    };
    request.responseType = "json"; // the response is null if it is anything else
    request.onload = () => {
      if (request.status === 201) resolve(request.response);
      else reject(new Error(request.response?.detail ?? request.statusText));
    };
    request.onerror = () => reject(new Error("The server cannot be reached, or did not accept the file."));
    request.onabort = () => reject(new Error("Cancelled."));
    const form = new FormData();
    if (upload.model) form.append("model", upload.model);
    for (const target of upload.targets) form.append("targets", target);
    if (upload.residual) form.append("residual", "true");
    form.append("file", upload.file);
    request.open("POST", "api/jobs");
    request.send(form);
  });
}

let sending = null; // the file being sent
let early = []; // jobs that may be of that file: events can be faster than the response

async function sendAll() {
  if (sending) return;
  while (uploads.length) {
    sending = uploads.shift();
    if (jobs.has(sending.id)) await sendOne(sending);
    early.splice(0).forEach(update);
  }
  sending = null;
}

async function sendOne(upload) {
  try {
    const job = await send(upload);
    discard(upload.id);
    update(job);
  } catch (error) {
    if (!jobs.has(upload.id)) return; // cancelled
    Object.assign(upload, { state: "failed", error: error.message });
    draw(upload.id);
    say(`${upload.name} was not accepted: ${upload.error}`);
  }
}

function add(files) {
  const wanted = choice();
  for (const file of files) {
    const id = `upload-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
    const upload = { id, file, name: file.name, state: "uploading", sent: 0, ...wanted };
    jobs.set(id, upload);
    if (limits && file.size > limits.max_upload) {
      upload.state = "failed";
      upload.error = `The file has ${megabytes(file.size)}; ${megabytes(limits.max_upload)} are allowed here.`;
    } else {
      uploads.push(upload);
    }
    draw(id);
  }
  say(files.length === 1 ? `${files[0].name} is being sent` : `${files.length} songs are being sent`);
  sendAll();
}

async function remove(id) {
  const job = jobs.get(id);
  const next = rows.get(id)?.nextElementSibling?.querySelector(".name");
  if (job.request) job.request.abort();
  if (!id.startsWith("upload-")) {
    try {
      await ask(`api/jobs/${id}`, { method: "DELETE" });
    } catch (error) {
      say(error.message);
    }
  }
  discard(id);
  say(`${job.name} was removed`);
  (next ?? byId("files")).focus();
}

// Events

function update(job) {
  const before = jobs.get(job.id);
  jobs.set(job.id, { ...job, received: performance.now() });
  draw(job.id);
  if (before && before.state !== job.state) {
    if (job.state === "done") say(`${job.name} is ready`);
    if (job.state === "failed") say(`${job.name} failed: ${job.error}`);
  }
}

function discard(id) {
  jobs.delete(id);
  rows.get(id)?.remove();
  rows.delete(id);
  byId("empty").hidden = jobs.size > 0;
}

function watch() {
  const source = new EventSource("api/events");
  source.addEventListener("jobs", (event) => {
    byId("connection").hidden = true;
    const all = JSON.parse(event.data);
    const known = new Set(all.map((job) => job.id));
    for (const id of [...jobs.keys()]) if (!id.startsWith("upload-") && !known.has(id)) discard(id);
    all.forEach(update);
  });
  source.addEventListener("job", (event) => {
    const job = JSON.parse(event.data);
    if (sending && !jobs.has(job.id)) early.push(job);
    else update(job);
  });
  source.addEventListener("removed", (event) => {
    const { id } = JSON.parse(event.data);
    early = early.filter((job) => job.id !== id);
    discard(id);
  });
  source.onerror = () => {
    byId("connection").hidden = false;
    if (source.readyState === EventSource.CLOSED) setTimeout(watch, 3000);
  };
}

// Settings of a job

const chosenModel = () => models.find((model) => model.name === byId("model").value);

const boxesOfTargets = () => [...byId("targets").querySelectorAll("input")];

function choice() {
  const model = chosenModel();
  const boxes = boxesOfTargets();
  const chosen = boxes.filter((box) => box.checked && box.value).map((box) => box.value);
  const all = !model || chosen.length === model.targets.length;
  return {
    model: model && !model.default ? model.name : null,
    targets: all ? [] : chosen,
    residual: boxes.some((box) => box.checked && !box.value),
  };
}

function drawModels() {
  const select = byId("model");
  select.replaceChildren(
    ...models.map(({ name, default: first }) =>
      new Option(first ? `${name} (default)` : name, name, first, first)),
  );
  select.onchange = drawModel;
  drawModel();
}

function drawModel() {
  const model = chosenModel();
  const here = model.downloaded
    ? model.bundled ? "Comes with Open-Unmix." : "Downloaded."
    : `Downloaded at its first use${model.size ? `, ${megabytes(model.size)}` : ""}.`;
  byId("about-model").textContent = `${here} Licence of the weights: ${model.licence}.`;
  byId("targets").replaceChildren(
    ...model.targets.map((target) => chip(target, capital(target), true)),
    chip("", "The rest", false),
  );
}

function chip(value, text, checked) {
  const label = make("label");
  const box = make("input", { type: "checkbox", value, checked });
  box.onchange = () => {
    // At least one target has to stay checked.
    if (!boxesOfTargets().some((other) => other.checked && other.value)) box.checked = true;
  };
  label.append(box, text);
  return label;
}

// The list

function draw(id) {
  const job = jobs.get(id);
  let row = rows.get(id);
  if (!row) {
    row = byId("job").content.firstElementChild.cloneNode(true);
    row.querySelector(".name").tabIndex = -1;
    rows.set(id, row);
    byId("empty").hidden = true;
  }
  const fill = (selector, text) => setText(row.querySelector(selector), text);
  fill(".name", job.name);
  fill(".facts", facts(job));
  fill(".note", capital(job.error ?? (job.notes ?? []).join(" ")));
  if (row.dataset.state !== job.state) {
    row.dataset.state = job.state;
    row.className = `card job ${job.state}`;
    row.querySelector(".actions").replaceChildren(...actions(job));
    arrange();
  }
  drawProgress(row, job);
}

// Active jobs in the order of the queue, then finished ones, the latest first.
function arrange() {
  const focused = document.activeElement;
  const rank = { running: 0, waiting: 1, uploading: 2, failed: 3, done: 3 };
  const latest = (job) => (job.finished ? Date.parse(job.finished) : Infinity);
  const order = [...rows.keys()].map((id) => jobs.get(id));
  order.sort((a, b) => rank[a.state] - rank[b.state] || (rank[a.state] === 3 && latest(b) - latest(a) || 0));
  order.forEach((job, index) => {
    const row = rows.get(job.id);
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  if (focused !== document.activeElement && focused.isConnected) focused.focus();
}

function facts(job) {
  const stems = job.files?.length ? job.files : [...job.targets, ...(job.residual ? ["residual"] : [])];
  const names = stems.map((name) => (name === "residual" ? "the rest" : name));
  return [
    job.duration ? clock(job.duration + 0.5) : null,
    job.state === "failed" ? null : job.model,
    names.length ? names.join(", ") : null,
    job.state === "done" && job.expires ? `kept until ${day(job.expires)}`.replaceAll(" ", "\u00a0") : null,
  ].filter(Boolean).join(" · ");
}

function drawProgress(row, job) {
  const active = ["uploading", "waiting", "running"].includes(job.state);
  row.querySelector(".progress").hidden = !active;
  if (!active) return;
  const bar = row.querySelector("progress");
  bar.hidden = job.state === "waiting";
  const { part, text } = progress(job);
  bar.setAttribute("aria-label", `Progress of ${job.name}`);
  if (part === null) bar.removeAttribute("value");
  else bar.value = part;
  setText(row.querySelector(".state"), text);
}

function progress(job) {
  if (job.state === "uploading") {
    if (job.sent >= 1) return { part: null, text: "Checking the file…" };
    if (!job.request) return { part: 0, text: "Waiting to be sent" };
    return { part: job.sent, text: `Sending, ${Math.floor(100 * job.sent)} %` };
  }
  const waited = (performance.now() - job.received) / 1000;
  const left = job.seconds_left === null ? null : Math.max(job.seconds_left - waited, 1);
  const time = left === null ? "" : `, about ${roughly(left)} left`;
  if (job.state === "waiting") {
    const before = job.position === 1 ? "1 song before it" : `${job.position} songs before it`;
    const text = job.position ? `Waiting, ${before}` : "Is next";
    return { part: 0, text: text + (left === null ? "" : `, ready in about ${roughly(left)}`) };
  }
  if (job.stage === "preparing") return { part: null, text: "Loading the model…" };
  if (job.stage === "finishing") return { part: null, text: `Writing the player${time || "…"}` };
  if (!job.duration) return { part: null, text: `${clock(job.seconds)} of audio done` };
  // The server reports about every minute of audio; in between, the bar follows the estimate.
  const total = job.duration;
  const speed = job.seconds_left ? (total - job.seconds) / job.seconds_left : 0;
  const done = Math.min(job.seconds + speed * waited, 0.98 * total);
  const shown = Math.max(done, job.seconds);
  return { part: shown / total, text: `${clock(shown)} of ${clock(total + 0.5)}${time}` };
}

function actions(job) {
  const text = job.state === "done" || job.state === "failed" ? "Remove" : "Cancel";
  const button = make("button", { textContent: text, className: "quiet", onclick: () => remove(job.id) });
  button.setAttribute("aria-label", `${text} ${job.name}`);
  if (job.state !== "done") return [button];
  const link = (textContent, href, label, kind = "") => {
    const element = make("a", { textContent, href, className: `button ${kind}` });
    element.setAttribute("aria-label", label);
    return element;
  };
  const base = `api/jobs/${job.id}`;
  return [
    link("Listen", `jobs/${job.id}/index.html`, `Listen to ${job.name}`, "primary"),
    link("Zip", `${base}/result.zip`, `Download the stems of ${job.name} as zip`),
    link("Stem MP4", `${base}/result.stem.mp4`, `Download ${job.name} as .stem.mp4`),
    button,
  ];
}

async function start() {
  takeFiles(add);
  watch();
  setInterval(() => {
    for (const [id, job] of jobs) if (job.state === "running" || job.state === "waiting") draw(id);
  }, 500);
  [models, limits] = await Promise.all([ask("api/models"), ask("api/health")]);
  drawModels();
  byId("limits").textContent =
    `Audio or video, up to ${megabytes(limits.max_upload)} and ${roughly(limits.max_duration)}`;
}

start().catch((error) => say(error.message));
