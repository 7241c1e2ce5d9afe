// Files of this page, on disk where the browser has the origin's private file system: Firefox keeps
// Blobs in the memory of the tab. Private windows, and pages without HTTPS, have none.
//
// A file is a header, which is written last, and parts, which can be replaced before.

const PREFIX = "open-unmix-";

let root = null;

// Return the name of a new folder of this page, or null. A lock says that its page is open; folders
// of others are removed.
export async function openFolder() {
  try {
    root = await navigator.storage.getDirectory();
    const { held } = await navigator.locks.query();
    const open = new Set(held.map((lock) => lock.name));
    for await (const name of root.keys()) {
      if (name.startsWith(PREFIX) && !open.has(name)) await root.removeEntry(name, { recursive: true });
    }
    const folder = PREFIX + crypto.randomUUID();
    await new Promise((taken) => {
      navigator.locks.request(folder, () => {
        taken();
        return new Promise(() => {}); // kept until the page is closed
      });
    });
    await root.getDirectoryHandle(folder, { create: true });
    return folder;
  } catch {
    return null;
  }
}

// For a page that is closed: a single request, sent at once.
export function removeFolder(folder) {
  if (folder) root.removeEntry(folder, { recursive: true }).catch(() => {});
}

// Remove the files of a folder; one that a worker had open may stay until the page is closed.
export async function emptyFolder(folder) {
  if (!folder) return;
  const directory = await root.getDirectoryHandle(folder);
  for await (const name of directory.keys()) await directory.removeEntry(name).catch(() => {});
}

// Return new files for `bytes` in all, in a worker: on disk if there is a folder, and room.
export async function openFiles(folder, count, headerSize, bytes) {
  if (!folder || !(await hasRoom(bytes))) return Array.from({ length: count }, () => new MemoryFile());
  const directory = await (await navigator.storage.getDirectory()).getDirectoryHandle(folder);
  const files = Array.from({ length: count }, async () => {
    const handle = await directory.getFileHandle(`${crypto.randomUUID()}.wav`, { create: true });
    return new DiskFile(handle, await handle.createSyncAccessHandle(), headerSize);
  });
  return Promise.all(files);
}

async function hasRoom(bytes) {
  const { quota, usage } = await navigator.storage.estimate();
  return quota - usage > 1.1 * bytes;
}

class DiskFile {
  constructor(handle, access, headerSize) {
    Object.assign(this, { handle, access, parts: [], size: headerSize });
  }

  append(values) {
    this.write(values, this.size);
    this.parts.push({ at: this.size, length: values.length });
    this.size += values.byteLength;
  }

  write(values, at) {
    if (this.access.write(values, { at }) < values.byteLength) throw new Error("the disk is full");
  }

  async replace(number, change) {
    const { at, length } = this.parts[number];
    const values = new Int16Array(length);
    this.access.read(values, { at });
    this.write(change(values), at);
  }

  async finish(header) {
    this.write(header, 0);
    this.access.close();
    return this.handle.getFile();
  }
}

class MemoryFile {
  parts = [];

  append(values) {
    this.parts.push(new Blob([values]));
  }

  async replace(number, change) {
    this.parts[number] = new Blob([change(new Int16Array(await this.parts[number].arrayBuffer()))]);
  }

  async finish(header) {
    return new Blob([header, ...this.parts], { type: "audio/wav" });
  }
}
