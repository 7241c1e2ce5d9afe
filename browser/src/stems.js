// Stems as 16-bit WAV files, in memory or on disk: those of ten minutes in 32 bit would be 850 MB.

const LARGEST = 32767;
export const HEADER = 44; // bytes

export class Stems {
  // `files` are those of storage.js.
  constructor(files, channels, sampleRate) {
    Object.assign(this, { files, channels, sampleRate, loudest: 1, samples: 0, scales: [] });
  }

  // Append (stems, channels) of Float32Arrays.
  add(estimates) {
    const { channels, files } = this;
    // The scale of a part is its own, as that of the song is not known yet.
    const scale = estimates.flat().reduce((most, values) => values.reduce((a, b) => Math.max(a, Math.abs(b)), most), 1);
    const length = estimates[0][0].length;
    const values = new Int16Array(length * channels);
    estimates.forEach((signal, stem) => {
      signal.forEach((channel, c) => {
        for (let n = 0; n < length; n++) values[n * channels + c] = Math.round((channel[n] / scale) * LARGEST);
      });
      files[stem].append(values);
    });
    this.scales.push(scale);
    this.loudest = Math.max(this.loudest, scale);
    this.samples += length;
  }

  // Return the files. All are scaled by 1 / loudest, so that none clips.
  async finish() {
    const { files, channels, sampleRate, loudest, scales } = this;
    for (const [number, scale] of scales.entries()) {
      const rescaled = (values) => values.map((value) => Math.round((value * scale) / loudest));
      if (scale < loudest) for (const file of files) await file.replace(number, rescaled);
    }
    return Promise.all(files.map((file) => file.finish(header(2 * channels * this.samples, channels, sampleRate))));
  }
}

function header(size, channels, sampleRate) {
  const view = new DataView(new ArrayBuffer(HEADER));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  const word = (at, value) => view.setUint32(at, value, true);
  const short = (at, value) => view.setUint16(at, value, true);
  text(0, "RIFF"), word(4, HEADER - 8 + size), text(8, "WAVEfmt "), word(16, 16);
  short(20, 1), short(22, channels), word(24, sampleRate), word(28, 2 * channels * sampleRate);
  short(32, 2 * channels), short(34, 16), text(36, "data"), word(40, size);
  return view;
}

// Return a function that reads samples of such a file, as Float32Arrays, one a channel.
export function reader(file, channels) {
  return async (first, last) => {
    const [from, to] = [first, last].map((sample) => HEADER + 2 * channels * sample);
    const values = new Int16Array(await file.slice(from, to).arrayBuffer());
    const signal = Array.from({ length: channels }, () => new Float32Array(last - first));
    signal.forEach((samples, c) => {
      for (let n = 0; n < samples.length; n++) samples[n] = values[n * channels + c] / LARGEST;
    });
    return signal;
  };
}
