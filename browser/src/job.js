// One song from file to stems, in a worker that is terminated at the end, or to cancel.
import { decode } from "./decode.js";
import { emptyFolder } from "./storage.js";

// Messages for the user, of what browsers say in many ways.
export class Problem extends Error {}

const MEMORY = "The browser ran out of memory. Close other tabs, or choose a shorter song.";

// WebAssembly with SIMD: a function that makes a vector of zeros and drops it.
const SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 9, 1, 7, 0, 65, 0, 253, 15, 26, 11,
]);

export function check() {
  if (!globalThis.WebAssembly?.validate(SIMD)) {
    throw new Problem(
      "This browser has no WebAssembly with SIMD, which the network needs. " +
        "Chrome and Edge have it since version 91, Firefox since 89, Safari since 16.4.",
    );
  }
}

export class Job {
  constructor(file, model, folder, report) {
    Object.assign(this, { file, model, folder, report, worker: null, isCancelled: false });
    this.result = this.run();
  }

  // The result of the worker, and the number of samples and channels.
  async run() {
    check();
    this.report({ stage: "decoding" });
    await emptyFolder(this.folder);
    const mixture = await this.decoded();
    if (this.isCancelled) return null;
    const [channels, samples] = [mixture.length, mixture[0].length];
    const result = await this.work(mixture);
    return result && { ...result, channels, samples };
  }

  async decoded() {
    try {
      return await decode(this.file, this.model.sample_rate);
    } catch (error) {
      if (error instanceof RangeError || /memory|allocat/i.test(error.message)) throw new Problem(MEMORY);
      throw new Problem(
        `${this.file.name}: the browser finds no audio in it that it can decode. ` +
          "Choose a WAV, FLAC, MP3, Ogg or M4A file.",
      );
    }
  }

  work(mixture) {
    return new Promise((resolve, reject) => {
      this.worker = new Worker(new URL("worker.js", document.baseURI), { type: "module" });
      this.stop = () => resolve(null);
      this.worker.onmessage = ({ data }) => {
        if (data.error) reject(new Problem(explained(data.error)));
        else if (data.files) resolve(data);
        else this.report(data);
      };
      this.worker.onerror = (event) => reject(new Problem(explained(event.message ?? "the worker did not start")));
      this.worker.postMessage({ mixture, model: this.model, folder: this.folder }, mixture.map((channel) => channel.buffer));
    }).finally(() => this.worker.terminate());
  }

  cancel() {
    this.isCancelled = true;
    this.stop?.();
  }
}

function explained(text) {
  if (/memory|allocat|RangeError/i.test(text)) return MEMORY;
  if (/fetch|NetworkError|load failed|bytes|\.onnx/i.test(text)) {
    return `The model could not be loaded (${text}). Try again when you are online.`;
  }
  return `The song could not be separated (${text}).`;
}
