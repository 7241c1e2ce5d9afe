// The player of the package, in a frame: player.html is the page that `umx --player` writes, but
// takes its data and audio from here.
import { frequencies } from "./picture.js";
import { reader } from "./stems.js";

const frame = () => document.getElementById("player");

let urls = []; // of the files on the page

// Show the result of a job: files in the order of model.targets, and the original.
export async function openPlayer(title, model, result, details) {
  const { files, pictures, channels, samples } = result;
  const rate = model.sample_rate;
  urls = files.map((file) => URL.createObjectURL(file));
  window.playerData = {
    title,
    sampleRate: rate,
    samples,
    frequencies: frequencies(rate),
    original: model.targets.length,
    details,
    tracks: files.map((_, i) => track(title, model.targets[i] ?? "original", pictures[i], urls[i])),
  };
  await new Promise((resolve) => {
    frame().onload = resolve;
    frame().src = "player.html";
  });
  const { player } = frame().contentWindow;
  files.forEach((file, i) => player.receive(i, reader(file, channels)));
  await player.ready;
  frame().contentWindow.focus(); // for its keys
}

function track(title, name, pictures, url) {
  return { ...pictures, name, download: url, fileName: `${title} - ${name}.wav` };
}

export function closePlayer() {
  frame().onload = null;
  frame().src = "about:blank"; // stops, and frees the audio
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
}
