// A file of the page with progress: `report` gets the bytes so far. The service worker has it from
// the second visit on.

export async function download(url, size, report) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
  const bytes = new Uint8Array(size);
  const reader = response.body.getReader();
  let count = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    if (count + part.value.length > size) throw new Error(`${url} is longer than ${size} bytes`);
    bytes.set(part.value, count);
    report((count += part.value.length));
  }
  if (count < size) throw new Error(`${url} ended after ${count} of ${size} bytes`);
  return bytes;
}
