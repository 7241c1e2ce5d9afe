// What the pages share that take songs: those of umx-serve, and the one that separates in the
// browser. common.js comes before.
"use strict";

const NARROW = "\u202f"; // a space without a line break

function roughly(seconds) {
  if (seconds < 60) return `${Math.max(Math.round(seconds), 1)}${NARROW}s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)}${NARROW}min`;
  return `${+(seconds / 3600).toFixed(1)}${NARROW}h`;
}

function megabytes(bytes) {
  if (bytes < 1e9) return `${Math.max(Math.round(bytes / 1e6), 1)}${NARROW}MB`;
  return `${+(bytes / 1e9).toFixed(1)}${NARROW}GB`;
}

// Files can be chosen, or dropped anywhere on the page.

function takeFiles(add) {
  let depth = 0;
  const over = (step) => (event) => {
    event.preventDefault();
    depth += step;
    document.body.classList.toggle("dropping", depth > 0);
  };
  addEventListener("dragenter", over(1));
  addEventListener("dragleave", over(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("dropping");
    if (event.dataTransfer.files.length) add([...event.dataTransfer.files]);
  });
  byId("files").onchange = (event) => {
    add([...event.target.files]);
    event.target.value = ""; // allows choosing the same file again
  };
}
