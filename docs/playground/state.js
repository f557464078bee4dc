// The setting of the playground, all of it in the address: #r=0,0.6,1&ref=0.5,0.3,0.2&beta=0.5 …

import { LOSSES } from "./maths.js";

export const NAMES = ["a", "b", "c"];
export const SIZES = ["10", "30", "100", "300", "1000", "3000", "10000", "100000", "inf"];
export const MOST = 2000; // steps of a walk
export const LEAST = 0.02; // what the reference gives each response at least
export const START = {
  r: [0, 0.6, 1], ref: [0.5, 0.3, 0.2], beta: 0.5, loss: "dpo", q: 0,
  voters: "bt", pairs: ["ab", "ac", "bc"], votes: "300", seed: 7, step: 0, theme: "auto",
};

const number = (low, high, form = /^-?\d+(\.\d+)?$/) => (text) => {
  const value = form.test(text) ? Number(text) : NaN;
  return value >= low && value <= high ? value : undefined;
};
const among = (options) => (text) => (options.includes(text) ? text : undefined);
const list = (each, fits) => (text) => {
  const values = text.split(",").map(each);
  return !values.includes(undefined) && fits(values) ? values : undefined;
};
const READ = {
  r: list(number(-3, 3), (r) => r.length === 3),
  ref: list(number(LEAST, 1), (p) => p.length === 3 && Math.abs(p[0] + p[1] + p[2] - 1) < 1e-9),
  beta: number(0.125, 8),
  loss: among(LOSSES),
  q: number(0, 1),
  voters: among(["bt", "sure", "flip"]),
  pairs: list(among(START.pairs), (pairs) => new Set(pairs).size === pairs.length),
  votes: among(SIZES),
  seed: number(0, 9999, /^\d+$/),
  step: number(0, MOST, /^\d+$/),
  theme: among(["auto", "light", "dark"]),
};

/** The setting of an address, and null; or the start, and the part of the address that is wrong. */
export function parse(hash) {
  const state = { ...START };
  for (const part of hash.replace(/^#/, "").split("&").filter(Boolean)) {
    const [key, text = ""] = part.split("=");
    const value = Object.hasOwn(READ, key) ? READ[key](text) : undefined;
    if (value === undefined) return [START, part];
    state[key] = value;
  }
  return [state, null];
}

/** The address of a setting. */
export const format = (state) => (
  `#${Object.keys(START).map((key) => `${key}=${state[key]}`).join("&")}`);

/** The nearest reference with thousandths, at least LEAST everywhere. */
export function snapped(point) {
  const room = point.map((p) => Math.max(p - LEAST, 0));
  const scale = (1 - 3 * LEAST) / (room[0] + room[1] + room[2]);
  const [a, b] = room.map((x) => Number((LEAST + scale * x).toFixed(3)));
  return [a, b, Number((1 - a - b).toFixed(3))];
}
