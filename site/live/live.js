// "Run this derivation": the page's own symbolic cells, in Python, in the reader's browser.
// For pages that derive (`live.pages()` in tools/live.py), each with its cells/<page>.json.

const STEM = decodeURIComponent(location.pathname.split("/").pop()).replace(/\.html$/, "");
const MARKS = { shown: "", printed: "", failed: "The check fails: ", raised: "Python says: " };
const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const squeezed = (text) => text.replace(/\s+/g, " ").trim();

function make(tag, attributes = {}, ...children) {
  const { text, ...others } = attributes;
  const node = Object.assign(document.createElement(tag), others);
  if (text !== undefined) node.textContent = text;
  node.append(...children);
  return node;
}

/** The elements of the page that hold these cells, found by what their code says. */
function placed(cells) {
  const inputs = [...document.querySelectorAll("div.cell")].map((node) => (
    [squeezed(node.querySelector("pre")?.textContent ?? ""), node]));
  return cells.map(({ source }) => inputs.find(([code]) => code === squeezed(source))?.[1]);
}

/** Have the browser keep the page and what it loads from now on: a reload needs no network then. */
async function keep() {
  if (!navigator.serviceWorker) return; // not over plain HTTP, but from this machine
  const root = new URL(document.documentElement.dataset.content_root ?? "./", location.href);
  await navigator.serviceWorker.register(new URL("offline.js", root));
  await navigator.serviceWorker.ready;
  const loaded = performance.getEntriesByType("resource").map(({ name }) => name);
  const own = [location.href, ...loaded].filter((one) => one.startsWith(location.origin));
  const kept = await caches.open("derivations");
  await Promise.allSettled(own.map((one) => kept.add(one)));
}

class Python {
  /** `hears` is told of bytes and stages while it loads. */
  constructor(hears) {
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => {
      if (data.done) this.answer(data.outputs);
      else if (data.broken) this.fail(new Error(data.broken));
      else hears(data);
    };
    this.worker.onerror = (event) => this.fail(new Error(event.message));
  }

  ask(message) {
    return new Promise((answer, fail) => {
      Object.assign(this, { answer, fail });
      this.worker.postMessage(message);
    });
  }

  end() {
    this.worker.terminate();
    this.fail?.(new Error("stopped"));
  }
}

/** One cell of the derivation: its editor, and what it gives here beside what is committed. */
class Cell {
  constructor(cell, number, count, host, run) {
    Object.assign(this, cell);
    const id = `live-${number}`;
    const left = cell.left_out
      ? ` ${plural(cell.left_out, "statement")} of it left out, for want of NumPy here.` : "";
    this.editor = make("textarea", {
      id, value: cell.code, rows: cell.code.split("\n").length + 1, spellcheck: false,
      autocapitalize: "off", autocomplete: "off", wrap: "off",
    });
    this.undo = make("button", { type: "button", text: "As it was", hidden: true });
    const go = make("button", { type: "button", text: "Run from here" });
    this.out = make("div", { className: "live-out" });
    this.node = make("div", { className: "live-cell", id: `${id}-cell` },
      this.out,
      make("details", {},
        make("summary", { text: `Edit cell ${number} of ${count}` }),
        make("label", { htmlFor: id, text: `Code of cell ${number}.${left}` }),
        this.editor,
        make("p", { className: "live-bar" }, go, this.undo,
          make("span", { text: "or Ctrl + Enter" }))));
    host.append(this.node);
    go.onclick = run;
    this.editor.onkeydown = (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
    };
    this.editor.oninput = () => { this.undo.hidden = this.editor.value === this.code; };
    this.undo.onclick = () => {
      this.editor.value = this.code;
      this.undo.hidden = true;
      run();
    };
  }

  waits(reason) {
    this.out.replaceChildren(...(this.out.children.length ? [make("p", { text: reason })] : []));
  }

  /** Show outputs; whether all of them are committed too. */
  show(outputs) {
    const committed = [...this.committed];
    let before = ""; // where the line above is from, which is said once
    this.held = outputs.filter(({ html }) => html).length; // lines of evidence
    let same = true;
    this.out.replaceChildren(...outputs.map((output) => {
      const at = committed.indexOf(output.text.trimEnd());
      if (at >= 0) committed.splice(0, at + 1);
      same &&= at >= 0;
      const origin = MARKS[output.kind]
        || (at >= 0 ? "Here, as committed:" : "Here, not as committed:");
      const line = this.line(output, at >= 0, origin === before ? "" : origin);
      before = origin;
      return line;
    }));
    this.out.querySelectorAll(".math").forEach((node) => window.MathJax.typesetPromise([node]));
    return same;
  }

  line({ kind, text, html, latex }, same, origin) {
    const wrong = Boolean(MARKS[kind]);
    const shown = make("div", { className: "live-value" });
    if (html) shown.innerHTML = html;
    else if (latex && window.MathJax?.typesetPromise) {
      const formula = latex.replace(/^\$+(\\displaystyle)?|\$+$/g, "");
      shown.append(make("div", { className: "math", text: `\\[${formula}\\]` }));
    } else shown.append(make(wrong ? "span" : "pre", { text }));
    const state = wrong ? "live-wrong" : same ? "live-same" : "live-other";
    const line = make("div", { className: `live-line ${state}` },
      make("span", { className: "live-origin", text: origin }), shown);
    if (wrong) line.setAttribute("role", "alert");
    return line;
  }
}

class Derivation {
  constructor(page, hosts) {
    const size = Math.round(page.bytes / 1e6);
    this.page = page;
    this.python = null;
    this.ready = 0; // so many cells have run, one after another
    this.button = make("button", { type: "button", text: "Run this derivation" });
    this.status = make("p", { text: `${plural(page.cells.length, "cell")} of this page, with the`
      + ` project's own code, in your browser: ${size} MB from this site on the first press.`
      + " Then every line can be edited." });
    this.status.setAttribute("role", "status");
    this.progress = make("progress", { max: page.bytes, value: 0, hidden: true });
    this.progress.setAttribute("aria-label", "Loading Python and SymPy");
    this.bar = make("section", { className: "live-start" }, this.button, this.progress,
      this.status, make("small", { text: page.parts }));
    this.bar.setAttribute("aria-label", "The derivation, live");
    hosts[page.cells.findIndex((cell) => cell.shows)].before(this.bar);
    this.button.onclick = () => (this.busy ? this.stop() : this.run(0));
    this.hosts = hosts;
  }

  stop() {
    this.halted = true;
    this.python?.end();
    this.python = null;
  }

  async load() {
    this.progress.hidden = false;
    this.progress.value = 0;
    this.status.textContent = "Loading Python and SymPy";
    this.ready = 0;
    await keep().catch(() => null); // private windows may refuse
    if (this.halted) throw new Error("stopped");
    this.python = new Python(({ bytes, stage }) => {
      if (bytes) this.progress.value += bytes;
      else this.status.textContent = stage;
    });
    const { wheels, modules } = this.page;
    await this.python.ask({ load: { wheels, modules } });
  }

  /** Run the cells from this one on, and before it those that have not run yet. */
  async run(first) {
    if (this.busy) return;
    this.busy = true;
    this.halted = false;
    this.button.textContent = "Stop";
    try {
      if (!this.python) await this.load();
      this.progress.hidden = true;
      this.cells ??= this.page.cells.map((cell, at, { length }) => (
        new Cell(cell, at + 1, length, this.hosts[at] ?? this.bar, () => this.run(at))));
      this.status.textContent = await this.derive(Math.min(first, this.ready));
    } catch (error) {
      this.python?.end();
      this.python = null;
      this.status.textContent = error.message === "stopped"
        ? "Stopped. The next run begins anew." : `Python could not go on: ${error.message}`;
    }
    this.progress.hidden = true;
    this.busy = false;
    this.button.textContent = "Run it again";
  }

  /** Run cells until one goes wrong: what came of it, in a sentence. */
  async derive(first) {
    this.ready = first;
    this.cells.slice(first).forEach((cell) => cell.waits("Not run yet."));
    let same = true;
    for (const [at, cell] of [...this.cells.entries()].slice(first)) {
      this.status.textContent = `Cell ${at + 1} of ${this.cells.length}`;
      const outputs = await this.python.ask({ place: at, code: cell.editor.value });
      same = cell.show(outputs) && same;
      const wrong = outputs.find(({ kind }) => MARKS[kind]);
      if (wrong) {
        return `Cell ${at + 1} of ${this.cells.length}: ${MARKS[wrong.kind]}${wrong.text}`;
      }
      this.ready = at + 1;
    }
    const checks = this.cells.reduce((sum, { held }) => sum + held, 0);
    return `All ${this.cells.length} cells ran, ${plural(checks, "check")} came out`
      + `${same ? ", every result as committed" : ""}. Open "Edit" under a cell, change a line.`;
  }
}

const page = await (await fetch(new URL(`cells/${STEM}.json`, import.meta.url))).json();
new Derivation(page, placed(page.cells));
