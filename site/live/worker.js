// Python in a worker: loads Pyodide, SymPy and the package's symbolic part, then runs cells.

const asked = self.fetch.bind(self);
let session = null;

/** As fetch, and tells the page how many bytes have come; Pyodide fetches through it as well. */
self.fetch = async (...what) => {
  const answer = await asked(...what);
  if (!answer.ok) throw new Error(`${answer.url}: ${answer.status}`);
  const counted = new TransformStream({
    transform(part, stream) {
      self.postMessage({ bytes: part.byteLength });
      stream.enqueue(part);
    },
  });
  return new Response(answer.body.pipeThrough(counted), { headers: answer.headers });
};

async function load({ wheels, modules }) {
  const here = (path) => new URL(path, import.meta.url).href;
  const bytes = async (path) => (await fetch(here(path))).arrayBuffer();
  const parts = Promise.all([wheels, modules].map((paths) => Promise.all(paths.map(bytes))));
  const { loadPyodide } = await import(here("pyodide/pyodide.mjs"));
  const [python, [packed, files]] = await Promise.all([
    loadPyodide({ indexURL: here("pyodide/") }), parts]);
  self.postMessage({ stage: "Starting SymPy" });
  packed.forEach((wheel) => python.unpackArchive(wheel, "wheel"));
  python.FS.mkdirTree("/live/dpo_edu");
  modules.forEach((path, at) => python.FS.writeFile(`/live/${path}`, new Uint8Array(files[at])));
  session = python.runPython(
    "import sys; sys.path.insert(0, '/live'); import session, sympy; session.install()");
}

self.onmessage = async ({ data }) => {
  try {
    if (data.load) await load(data.load);
    const outputs = data.load ? null : JSON.parse(session.run(data.place, data.code));
    self.postMessage({ done: true, outputs });
  } catch (error) {
    self.postMessage({ broken: String(error.message ?? error) });
  }
};
