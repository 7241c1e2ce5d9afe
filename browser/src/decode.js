// A file as the mixture: one or two Float32Arrays at the sample rate of the model.

export async function decode(file, sampleRate) {
  const context = new OfflineAudioContext(1, 1, sampleRate);
  let buffer = await context.decodeAudioData(await file.arrayBuffer()); // and resampled
  if (buffer.numberOfChannels > 2) buffer = await downmixed(buffer);
  return Array.from({ length: buffer.numberOfChannels }, (_, channel) => buffer.getChannelData(channel));
}

// More channels as the browser plays them on two loudspeakers.
async function downmixed(buffer) {
  const context = new OfflineAudioContext(2, buffer.length, buffer.sampleRate);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  return context.startRendering();
}
