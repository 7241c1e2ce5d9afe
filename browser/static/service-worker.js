// Keeps the page and its model, so that it works offline from the second visit on. `make site`
// fills in the files and a hash of them, which names the cache.
"use strict";

const FILES = [/* files */];
const CACHE = "open-unmix-/* hash */";

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(removeOthers().then(() => self.clients.claim()));
});

async function removeOthers() {
  const names = (await caches.keys()).filter((name) => name.startsWith("open-unmix-") && name !== CACHE);
  await Promise.all(names.map((name) => caches.delete(name)));
}

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(self.registration.scope)) event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  const known = await cache.match(request, { ignoreSearch: true });
  if (known) return known;
  const response = await fetch(request);
  // The larger model is kept when it was used.
  if (response.ok && request.url.endsWith(".onnx")) await cache.put(request, response.clone());
  return response;
}
