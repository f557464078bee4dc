// Pictures: a setting and what follows from it in, SVG text out; nothing is computed here.

import { pairLoss, valley } from "./maths.js";
import { MOST, NAMES } from "./state.js";

const [SIDE, HIGH] = [360, 180 * Math.sqrt(3)];
export const toPlane = (p) => [40 + SIDE * (p[1] + p[2] / 2), 346 - HIGH * p[2]];
export function toPolicy([x, y]) {
  const c = (346 - y) / HIGH;
  const b = (x - 40) / SIDE - c / 2;
  return [1 - b - c, b, c];
}
/** How far J lies below its maximum, reward units: the borders of the shades. */
export const LEVELS = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];
export const shade = (k) => 0.62 * (1 - k / LEVELS.length) ** 1.6;

/** Shade the triangle by J(pi*) - J(pi), which is beta KL(pi || pi*). */
export function shadeTriangle(canvas, star, beta) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const ink = getComputedStyle(canvas).color.match(/\d+/g).map(Number);
  const logStar = star.map((p) => Math.log(Math.max(p, 1e-300)));
  for (let at = 0; at < width * height; at += 1) {
    const scale = 440 / width;
    const p = toPolicy([((at % width) + 0.5) * scale, (Math.floor(at / width) + 0.5) * scale]);
    if (p.some((x) => x < 0)) continue;
    const gap = beta * p.reduce((sum, x, y) => sum + (x && x * (Math.log(x) - logStar[y])), 0);
    const level = LEVELS.findIndex((border) => gap < border);
    const alpha = 255 * (level < 0 ? 0 : shade(level));
    image.data.set([ink[0], ink[1], ink[2], alpha], 4 * at);
  }
  context.putImageData(image, 0, 0);
}

const round = (x) => Math.round(10 * x) / 10;
const points = (list) => list.map(([x, y]) => `${round(x)},${round(y)}`).join(" ");
const line = (list, kind) => `<polyline class="${kind}" points="${points(list)}"/>`;
const minus = (words) => String(words).replace(/^-/, "−");
const text = (x, y, kind, words) => (
  `<text x="${round(x)}" y="${round(y)}" class="${kind}">${minus(words)}</text>`);

const sub = (word) => `<tspan class="small" dy="4">${word}</tspan>`;

/** A mark of its own shape for each role, so that colour is never all that tells them apart. */
export function mark(role, [x, y], size = 7) {
  const at = `class="mark ${role}" transform="translate(${round(x)} ${round(y)})"`;
  const [s, t] = [size, size * 1.35];
  const shapes = {
    ref: `<rect ${at} x="${-s}" y="${-s}" width="${2 * s}" height="${2 * s}"/>`,
    truth: `<path ${at} d="M0 ${-t}L${t} 0L0 ${t}L${-t} 0Z"/>`,
    other: `<path ${at} d="M0 ${-t}L${t} ${s}L${-t} ${s}Z"/>`,
  };
  return shapes[role] ?? `<circle ${at} r="${s}"/>`;
}

/** Names beside their marks, each where it is farthest from the others and from the rim. */
function names(marks) {
  const places = [[0, -18], [0, 22], [-30, 4], [30, 4], [-26, -16], [26, -16], [-26, 20], [26, 20]];
  const taken = marks.map(({ at }) => at);
  return marks.filter(({ name }) => name).map(({ role, at, name }) => {
    const clear = ([dx, dy]) => Math.min(
      ...taken.filter((p) => p !== at).map(([x, y]) => Math.hypot(x - at[0] - dx, y - at[1] - dy)),
      at[1] + dy > 340 || Math.abs(at[0] + dx - 220) > 190 ? 12 : 40,
    );
    const [dx, dy] = places.reduce((best, to) => (clear(to) > clear(best) + 3 ? to : best));
    taken.push([at[0] + dx, at[1] + dy]);
    return text(at[0] + dx, at[1] + dy, `name ${role}-ink`, name);
  }).join("");
}

/** The triangle: paths, regions and marks; the reference, which is dragged, is drawn last. */
export function triangle(state, model) {
  const shapes = [line([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]].map(toPlane), "rim")];
  [[44, 372], [392, 372], [220, 22]].forEach(([x, y], k) => shapes.push(
    text(x, y, "corner", `${NAMES[k]}<tspan class="small"> r = ${state.r[k]}</tspan>`)));
  shapes.push(line(model.path.map(({ policy }) => toPlane(policy)), "path"));
  if (model.rim) shapes.push(line([...model.rim, model.rim[0]].map(toPlane), "region"));
  if (model.alone !== null && state.loss !== "kto") {
    shapes.push(line(valley(model.goal.policy, model.alone).map(toPlane), "valley"));
  }
  shapes.push(line(model.trail.map(({ policy }) => toPlane(policy)), "walk"));
  const named = (role, policy, name) => ({ role, at: toPlane(policy), name });
  const marks = [named("truth", model.star.policy, "π*")];
  if (model.elsewhere) marks.push(named("other", model.goal.policy, model.goal.name));
  if (state.step > 0) marks.push(named("model", model.now.policy, `π${sub("θ")}`));
  const start = named("ref", state.ref, `π${sub("ref")}`);
  shapes.push(...marks.map(({ role, at }) => mark(role, at)), names([...marks, start]));
  return shapes.join("");
}
const BOX = { left: 44, right: 290, top: 26, bottom: 156 };
function ticks([low, high]) {
  const raw = (high - low) / 4;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const gap = [1, 2, 5, 10].map((k) => k * unit).find((step) => step >= raw);
  const [first, last] = [Math.ceil(low / gap), Math.floor(high / gap)];
  return Array.from({ length: last - first + 1 }, (_, k) => Number(((first + k) * gap).toFixed(6)));
}

/** Axes, and the map from data to the page. */
function axes(xRange, yRange, xName, yName, xTicks = ticks(xRange).map((x) => [x, x])) {
  const along = ([low, high], from, to) => (v) => from + ((v - low) / (high - low)) * (to - from);
  const [x, y] = [along(xRange, BOX.left, BOX.right), along(yRange, BOX.bottom, BOX.top)];
  const grid = ticks(yRange).map((v) => line([[BOX.left, y(v)], [BOX.right, y(v)]], "grid")
    + text(BOX.left - 6, y(v) + 4, "tick end", v));
  const below = xTicks.map(([v, word]) => text(x(v), BOX.bottom + 16, "tick", word));
  const names = text(290, BOX.bottom + 35, "tick end", xName) + text(2, 11, "tick start", yName);
  const at = ([u, v]) => [Math.min(Math.max(x(u), BOX.left), BOX.right), y(v)];
  return { at, frame: grid.join("") + below.join("") + names };
}
function widened(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return [low - (0.08 * (high - low) || 0.5), high + (0.08 * (high - low) || 0.5)];
}

/** Expected reward against divergence: the frontier over beta, its slope at beta, and the walk. */
export function frontier(state, model) {
  const shown = [...model.path, model.star, ...model.trail];
  const right = Math.max(...shown.map(({ kl }) => kl), 0.1);
  const { at, frame } = axes([0, right * 1.05], widened(shown.map(({ reward }) => reward)),
    "KL to the reference, nats", "expected reward, reward units");
  const spot = ({ kl, reward }) => at([kl, reward]);
  const { kl, reward } = model.star;
  const reach = Math.min(kl, 0.25 * right);
  const slope = [-reach, reach].map((d) => at([kl + d, reward + state.beta * d]));
  const now = state.step > 0 ? mark("model", spot(model.now), 5) : "";
  return frame + line(model.path.map(spot), "path") + line(slope, "slope")
    + line(model.trail.map(spot), "walk") + mark("ref", spot(shown[0]), 5)
    + mark("truth", spot(model.star), 6) + now;
}

/** How hard a vote pulls, against the margin that the policy gives it; dots are the three pairs. */
export function pull(state, model) {
  const marks = model.votes.map((vote) => [vote.place, vote.pull]);
  const span = Math.max(4, ...marks.map(([place]) => Math.abs(place) + 0.5));
  const curve = Array.from({ length: 161 }, (_, k) => {
    const s = span * (k / 80 - 1);
    return [s, -pairLoss(state.loss, s, 0, state.beta)[1] / state.beta];
  });
  const { at, frame } = axes([-span, span], widened([0, ...curve.map((one) => one[1])]),
    state.loss === "kto" ? "chosen reward less β z₀, reward units" : "margin s, reward units",
    state.loss === "dpo" ? "weight σ(−s)" : "pull −dℓ/ds");
  const spots = marks.map(at);
  const heights = spread(spots.map(([, y]) => y - 2));
  const named = model.votes.map(({ name }, k) => {
    const [x, anchor] = beside(spots[k][0]);
    return text(x, heights[k], `name ${anchor} model-ink`, name);
  });
  const dots = spots.map((spot) => mark("model", spot, 5));
  return frame + line(curve.map(at), "curve") + [...dots, ...named].join("");
}
const beside = (x) => (x > 200 ? [x - 9, "end"] : [x + 9, "start"]);

/** Heights of names, moved down until each keeps a line's distance. */
function spread(heights) {
  const moved = [...heights];
  const order = moved.map((_, k) => k).sort((u, v) => moved[u] - moved[v]);
  order.slice(1).forEach((k, n) => { moved[k] = Math.max(moved[k], moved[order[n]] + 14); });
  return moved;
}
const STEPS = [0, 1, 10, 100, 1000].map((k) => [Math.log10(1 + k), k]);

/** Columns of the log, [key, role], against the step on a logarithmic scale. */
export function log(trail, columns, unit, shown) {
  const [values, now] = [trail.flatMap((row) => columns.map(([key]) => row[key])), trail.at(-1)];
  const range = [0, Math.log10(1 + MOST)];
  const { at, frame } = axes(range, widened(values), "step", unit, STEPS);
  const heights = spread(columns.map(([key]) => at([0, now[key]])[1]));
  return frame + columns.map(([key, role], k) => {
    const curve = trail.map((row, step) => at([Math.log10(1 + step), row[key]]));
    const [x, y] = curve.at(-1);
    const [left, anchor] = beside(x);
    return line(curve, `${role}-line`) + mark("dot", [x, y], 3)
      + text(left, heights[k] - 6, `name ${anchor} ${role}-ink`, `${key} ${shown(now[key])}`);
  }).join("");
}
