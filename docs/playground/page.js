// The page: controls and address in, pictures and sentences out.

import * as draw from "./draw.js";
import * as maths from "./maths.js";
import { MOST, NAMES, SIZES, START, format, parse, snapped } from "./state.js";

const find = (id) => document.getElementById(id);
const controls = find("setting").elements;
const LABELS = { dpo: "DPO", ipo: "IPO", hinge: "hinge", robust: "robust DPO", kto: "KTO" };
const UNITS = { dpo: "nats", robust: "nats", ipo: "nats²", hinge: "reward units", kto: "" };
const [still, dark] = ["reduced-motion: reduce", "color-scheme: dark"].map((wish) => (
  matchMedia(`(prefers-${wish})`)));
let [state, model, playing] = [START, null, null];

const places = (pair) => [...pair].map((y) => NAMES.indexOf(y));
const priced = (policy) => (
  { policy, kl: maths.klDivergence(policy, state.ref), reward: maths.dot(policy, state.r) });

/** What a setting implies: votes, optima, the region, and a walk that has not begun. */
function prepared() {
  const { r, ref, beta, loss, voters, votes } = state;
  const law = maths.voteLaw(r, ref, state.pairs.map(places), voters);
  const wins = votes === "inf" ? law : maths.sampleVotes(law, Number(votes), state.seed);
  const [star, alone] = [maths.optimalPolicy(r, ref, beta), maths.leftOut(law)];
  const bounded = votes !== "inf" && voters === "bt" && alone === null;
  const met = bounded && law.map((row, i) => row.map((p, j) => Number(votes) * (p + law[j][i])));
  const goal = { ...maths.optimum(loss, law, ref, beta), name: LABELS[loss] };
  const shared = maths.features(state.q);
  return {
    wins, alone, goal, met, shared, rate: maths.learningRate(loss, wins, shared, beta),
    star: priced(star), path: maths.pathOverBeta(r, ref).map(priced), theta: [0, 0, 0, 0],
    trail: [], most: beta * maths.logPartition(r, ref, beta),
    elsewhere: goal.policy.some((p, y) => Math.abs(p - star[y]) > 0.002),
    rim: met && maths.ellipse(r, met).map((x) => maths.optimalPolicy(x, ref, beta)),
    endless: maths.runaways(loss, wins).length > 0,
  };
}

/** Walk on to the step of the setting; whether the last step still moved the policy. */
function walk() {
  let moved = 1;
  for (let last = model.trail.at(-1); model.trail.length <= state.step; last = model.now) {
    const { shared, rate, wins } = model;
    if (last) model.theta = maths.step(model.theta, shared, last.policy, last.slopes, rate);
    const policy = maths.logPolicy(model.theta, shared, state.ref)
      .map((x) => Math.exp(Math.max(x, -700))); // a walk without end would leave the numbers
    const seen = maths.look(state.loss, wins, policy, state.ref, state.beta);
    model.now = { ...priced(policy), ...seen };
    model.trail.push(model.now);
    if (last) moved = Math.max(...policy.map((p, y) => Math.abs(p - last.policy[y])));
  }
  return moved > 1e-7;
}

/** Each pair, the likelier winner first: what the voters say, what the policy says, the pull. */
function judged() {
  const p = maths.preference(state.r, state.voters);
  const s = maths.implicitReward(model.now.policy, state.ref, state.beta);
  return state.pairs.map(places).map(([k, l]) => {
    const [i, j] = p[k][l] >= p[l][k] ? [k, l] : [l, k];
    const slope = maths.pairLoss(state.loss, s[i], s[j], state.beta, model.now.kl)[1];
    const place = state.loss === "kto" ? s[i] - state.beta * model.now.kl : s[i] - s[j];
    return { name: `${NAMES[i]} ≻ ${NAMES[j]}`, voters: p[i][j], margin: s[i] - s[j], place,
      policy: maths.sigmoid(s[i] - s[j]), pull: 0 - slope / state.beta };
  });
}

const small = (x) => (
  (Math.abs(x) < 5e-4 && x !== 0 ? x.toExponential(0) : x.toFixed(3)).replaceAll("-", "−"));
const shares = (p) => `a ${p[0].toFixed(2)}, b ${p[1].toFixed(2)}, c ${p[2].toFixed(2)}`;

/** What is seen, in sentences. */
function sentences() {
  const { loss, votes, step, q } = state;
  const { star, now, goal, alone, met, trail } = model;
  const far = `${small(maths.klDivergence(star.policy, now.policy))} nats from π*`;
  const within = met && maths.inside(now.policy, state.ref, state.beta, state.r, met);
  const region = met ? `, ${within ? "inside" : "outside"} the region of 95 in 100` : "";
  const many = votes === "inf" ? "unlimited votes" : `${votes} votes`;
  const said = [`π* gives ${shares(star.policy)}.`, step > 0
    ? `After ${step} steps of ${goal.name} on ${many} the policy gives ${shares(now.policy)}: `
      + `${far}${region}.`
    : `The policy stands at the reference, ${far}; its first loss is ${small(trail[0].loss)} `
      + `${UNITS[loss]}${loss === "dpo" ? ", log 2" : ""}.`];
  const gain = (y) => now.policy[y] - state.ref[y];
  const richest = NAMES[[0, 1, 2].sort((i, j) => gain(j) - gain(i))[0]];
  const notes = [
    [alone !== null && loss !== "kto", `${NAMES[alone]} was never compared: all policies on the `
      + "dashed line have the same loss, and no vote decides which one training ends at."],
    [model.endless, "Nothing contradicts some of these votes: their loss falls for ever."],
    [goal.ends === "many", "Many policies have no loss at all; the triangle marks one of them."],
    [model.elsewhere && goal.ends === "minimum" && alone === null,
      `With unlimited votes${q > 0 ? ", at q = 0," : ""} ${goal.name} leads to `
        + `${shares(goal.policy)}, not to π*.`],
    [q > 0 && step > 0 && now.chosen < 0 && now.rejected < 0,
      `Chosen and rejected responses both fall while the margin grows; ${richest} gains most.`],
  ];
  return [...said, ...notes.filter(([holds]) => holds).map(([, note]) => note)].join(" ");
}

/** Draw the setting and the walk. */
function paint() {
  const { now, star, trail } = model;
  model.votes = judged();
  find("triangle").innerHTML = draw.triangle(state, model);
  const curves = [["chosen", "truth"], ["rejected", "wrong"], ["margin", "other"]];
  const charts = {
    loss: [draw.log(trail, [["loss", "model"]], UNITS[state.loss], small),
      `The loss was ${small(trail[0].loss)} at first and is ${small(now.loss)}.`],
    rewards: [draw.log(trail, curves, "reward units", small),
      curves.map(([name]) => `${name} ${small(now[name])} reward units`).join(", ")],
    frontier: [draw.frontier(state, model),
      `π* pays ${small(star.kl)} nats and earns ${small(star.reward)} reward units.`],
    pull: [draw.pull(state, model), "The numbers stand in the table below."],
  };
  Object.entries(charts).forEach(([id, [picture, words]]) => {
    find(id).innerHTML = picture;
    find(id).setAttribute("aria-label", words);
  });
  const earned = small(maths.objective(now.policy, state.r, state.ref, state.beta));
  const best = `J = ${earned} reward units, at most ${small(model.most)}`;
  find("count").textContent = `step ${state.step}: ${best}`;
  const head = ["vote", "P of the voters", "σ(s) of the policy", "margin s, reward units", "pull"];
  const cells = (row, tag) => `<tr>${row.map((x) => `<${tag}>${x}</${tag}>`).join("")}</tr>`;
  const rows = model.votes.map((v) => (
    cells([v.name, ...[v.voters, v.policy, v.margin, v.pull].map(small)], "td")));
  find("pairs").innerHTML = `<table>${cells(head, "th")}${rows.join("")}</table>`;
}

/** Show the setting in the controls. */
function fill() {
  const [r0, r1, r2] = state.r;
  const values = { ...state, r0, r1, r2, beta: Math.log2(state.beta) };
  ["r0", "r1", "r2", "beta", "q", "voters", "votes", "seed", "loss", "theme"].forEach((name) => {
    controls[name].value = values[name];
    const output = controls[name].labels[0].querySelector("output");
    const word = { beta: `${Number(state.beta.toFixed(3))} reward units per nat`, q: state.q };
    if (output) output.textContent = word[name] ?? `${values[name]} reward units`;
  });
  START.pairs.forEach((pair) => { controls[pair].checked = state.pairs.includes(pair); });
  const handle = find("handle");
  handle.setAttribute("transform", `translate(${draw.toPlane(state.ref)})`);
  handle.setAttribute("aria-valuenow", state.ref[0]);
  handle.setAttribute("aria-valuetext", shares(state.ref));
}

/** Paint, say what is seen, and write the setting into the address. */
function settle() {
  cancelAnimationFrame(playing);
  playing = null;
  paint();
  find("play").textContent = "Play";
  find("seen").textContent = sentences();
  history.replaceState(null, "", format(state));
}

/** Take up a setting: from the address, a control or the handle. */
function take(next, wrong = null) {
  state = next;
  document.documentElement.dataset.theme = state.theme;
  model = prepared();
  walk();
  fill();
  draw.shadeTriangle(find("shades"), model.star.policy, state.beta);
  settle();
  find("wrong").hidden = !wrong;
  find("wrong").textContent = `“${wrong}” in the address is no setting; this is the start.`;
}

/** Steps of one frame, more and more of them: a walk slows down as it arrives. */
function play() {
  const steps = still.matches ? MOST : 1 + Math.floor(state.step / 40);
  state = { ...state, step: Math.min(MOST, state.step + steps) };
  if (!walk() || state.step === MOST) return settle();
  paint();
  find("play").textContent = "Pause";
  playing = requestAnimationFrame(play);
}

function changed({ target }) {
  const value = (name) => Number(controls[name].value);
  const pairs = START.pairs.filter((pair) => controls[pair].checked);
  const seed = Math.min(Math.max(Math.round(value("seed")), 0), 9999);
  const beta = target.name === "beta" ? Number((2 ** value("beta")).toFixed(4)) : state.beta;
  const step = target.name === "theme" ? state.step : 0;
  const { voters, votes, loss, theme } = Object.fromEntries(new FormData(find("setting")));
  take({ voters, votes, loss, theme, beta, seed, step, r: ["r0", "r1", "r2"].map(value),
    q: value("q"), ref: state.ref, pairs: pairs.length > 0 ? pairs : state.pairs });
}
const moveTo = (point) => take({ ...state, ref: snapped(draw.toPolicy(point)), step: 0 });
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const on = (id, event, act) => find(id).addEventListener(event, act);
on("handle", "keydown", (event) => {
  if (!KEYS[event.key]) return;
  event.preventDefault();
  const [x, y] = draw.toPlane(state.ref);
  const far = event.shiftKey ? 36 : 7.2; // a fiftieth of a side, with Shift a tenth
  moveTo([x + far * KEYS[event.key][0], y + far * KEYS[event.key][1]]);
});
on("handle", "pointerdown", (event) => event.target.setPointerCapture(event.pointerId));
on("handle", "pointermove", (event) => {
  if (!event.target.hasPointerCapture(event.pointerId)) return;
  const { left, top, width } = find("hand").getBoundingClientRect();
  moveTo([event.clientX - left, event.clientY - top].map((v) => (440 * v) / width));
});
on("play", "click", () => (playing === null ? play() : settle()));
on("once", "click", () => take({ ...state, step: Math.min(MOST, state.step + 1) }));
on("back", "click", () => take({ ...state, step: 0 }));
on("again", "click", () => take({ ...state, seed: (state.seed + 1) % 10000 }));
on("setting", "input", changed);
controls.theme.addEventListener("input", changed);
dark.addEventListener("change", () => take(state));

const load = () => take(...parse(location.hash));
controls.votes.innerHTML = SIZES.map((size) => (
  `<option value="${size}">${size === "inf" ? "unlimited" : size}</option>`)).join("");
addEventListener("hashchange", load);
load();
