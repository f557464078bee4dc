// A service worker, registered at the first press of "Run this derivation": keeps what the site has
// sent since, so that the page works again without a network. The network comes first.

const KEPT = "derivations";

self.oninstall = () => self.skipWaiting();
self.onactivate = (event) => event.waitUntil(self.clients.claim());
self.onfetch = (event) => {
  const { method, url } = event.request;
  const own = new URL(url).origin === location.origin;
  if (method === "GET" && own) event.respondWith(answer(event));
};

async function answer(event) {
  const kept = await caches.open(KEPT);
  try {
    const found = await fetch(event.request);
    if (found.ok) event.waitUntil(kept.put(event.request, found.clone()));
    return found;
  } catch (reason) {
    const copy = await kept.match(event.request);
    if (copy) return copy;
    throw reason;
  }
}
