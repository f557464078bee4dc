// The mathematics of the playground: one prompt, three responses, no DOM.
// Policies, rewards and log-ratios are arrays of three. Rewards, margins and J are in reward units,
// log-probabilities and divergences in nats; beta turns nats into reward units. Votes are win
// counts or probabilities (3, 3), row beat column.

export const NOISE = 0.1; // the share of votes that flip, and that the robust loss assumes
export const COMMON = [-2, -3, 2]; // the feature that responses share
export const LOSSES = ["dpo", "ipo", "hinge", "robust", "kto"];
export const PAIRS = [[0, 1], [0, 2], [1, 2]];
const ALL = [0, 1, 2];
const RADIUS = Math.sqrt(-2 * Math.log(0.05)); // 95 % of a Gaussian in the plane lie within it
const PLANE = [
  [Math.SQRT1_2, -Math.SQRT1_2, 0],
  [1 / Math.sqrt(6), 1 / Math.sqrt(6), -2 / Math.sqrt(6)],
]; // an orthonormal basis of what sums to zero: a constant in rewards changes nothing

const total = (f) => f(0) + f(1) + f(2);
const matrix = (f) => ALL.map((i) => ALL.map((j) => f(i, j)));
export const dot = (u, v) => u.reduce((sum, x, k) => sum + x * v[k], 0);
export const logSigmoid = (s) => Math.min(s, 0) - Math.log1p(Math.exp(-Math.abs(s)));
export const sigmoid = (s) => Math.exp(logSigmoid(s));

/** The mean over votes of f(winner, loser). */
function mean(wins, f) {
  const votes = total((i) => total((j) => wins[i][j]));
  return total((i) => total((j) => (wins[i][j] > 0 ? (wins[i][j] / votes) * f(i, j) : 0)));
}
/** Log-probabilities of logits. */
export function softmax(logits) {
  const top = Math.max(...logits);
  const rest = Math.log(total((y) => Math.exp(logits[y] - top)));
  return logits.map((logit) => logit - top - rest);
}
export function logPartition(reward, ref, beta) {
  const best = Math.max(...reward);
  return best / beta + Math.log(total((y) => ref[y] * Math.exp((reward[y] - best) / beta)));
}

export const optimalPolicy = (reward, ref, beta) => (
  softmax(ALL.map((y) => Math.log(ref[y]) + reward[y] / beta)).map(Math.exp));
export const klDivergence = (p, q) => total((y) => (p[y] && p[y] * Math.log(p[y] / q[y])));
export const objective = (policy, reward, ref, beta) => (
  dot(policy, reward) - beta * klDivergence(policy, ref));
export const implicitReward = (policy, ref, beta) => (
  ALL.map((y) => beta * (Math.log(policy[y]) - Math.log(ref[y]))));
/** pi* from beta = infinity, the reference, to nearly 0. */
export function pathOverBeta(reward, ref, points = 160) {
  const betas = Array.from({ length: points }, (_, k) => 10 ** (2.5 - (5 * k) / (points - 1)));
  return [ref, ...betas.map((beta) => optimalPolicy(reward, ref, beta))];
}
/** P[i][j], how probably i beats j. Voters: "bt", "sure" (never err), "flip" (one in ten flips). */
export function preference(reward, voters = "bt") {
  return matrix((i, j) => {
    const lead = reward[i] - reward[j];
    if (voters === "sure") return (Math.sign(lead) + 1) / 2;
    return voters === "flip" ? NOISE + (1 - 2 * NOISE) * sigmoid(lead) : sigmoid(lead);
  });
}
/** The chance of each (winner, loser) in one vote on a pair of different draws from `ref`. */
export function voteLaw(reward, ref, compared = PAIRS, voters = "bt") {
  const asked = (i, j) => compared.some((pair) => i !== j && pair.includes(i) && pair.includes(j));
  const met = matrix((i, j) => (asked(i, j) ? ref[i] * ref[j] : 0));
  const half = total((i) => total((j) => met[i][j])) / 2;
  const p = preference(reward, voters);
  return matrix((i, j) => (met[i][j] * p[i][j]) / half);
}

/** Win counts of `size` votes; a seed (of mulberry32) gives the same ones on every machine. */
export function sampleVotes(law, size, seed) {
  const [cumulative, counts] = [[], Array(9).fill(0)];
  law.flat().reduce((sum, p, k) => (cumulative[k] = sum + p), 0);
  for (let state = seed, vote = 0; vote < size; vote += 1) {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x = (x + Math.imul(x ^ (x >>> 7), x | 61)) ^ x;
    const draw = (((x ^ (x >>> 14)) >>> 0) / 2 ** 32) * cumulative[8];
    counts[cumulative.findIndex((edge) => edge > draw)] += 1;
  }
  return matrix((i, j) => counts[3 * i + j]);
}

/** Loss of the margin s, its first and its second derivative in s. */
export function marginLoss(kind, s, beta) {
  const bend = sigmoid(s) * sigmoid(-s);
  if (kind === "dpo") return [-logSigmoid(s), -sigmoid(-s), bend];
  if (kind === "robust") {
    const [keep, flip] = [(1 - NOISE) / (1 - 2 * NOISE), NOISE / (1 - 2 * NOISE)];
    const value = flip * logSigmoid(-s) - keep * logSigmoid(s);
    return [value, -keep * sigmoid(-s) - flip * sigmoid(s), bend];
  }
  if (kind === "hinge") return s < 1 ? [1 - s, -1, 0] : [0, 0, 0];
  const miss = (s - 0.5) / beta; // IPO
  return [miss ** 2, (2 * miss) / beta, 2 / beta ** 2];
}

/** Loss of a vote, its slopes in log pi(y_w) and log pi(y_l); s_w and s_l are implicit rewards. */
export function pairLoss(kind, sW, sL, beta, kl = 0) {
  if (kind !== "kto") {
    const [value, slope] = marginLoss(kind, sW - sL, beta);
    return [value, beta * slope, -beta * slope];
  }
  const [w, l] = [sW - beta * kl, sL - beta * kl]; // kl, the point z0, is a constant to the slopes
  const bump = (x) => beta * sigmoid(x) * sigmoid(-x);
  return [sigmoid(-w) + sigmoid(l), -bump(w), bump(l)];
}
/** What a trainer logs of a policy on votes, and the slopes of the mean loss in log pi. */
export function look(kind, wins, policy, ref, beta) {
  const [s, kl] = [implicitReward(policy, ref, beta), klDivergence(policy, ref)];
  const part = (k) => (i, j) => pairLoss(kind, s[i], s[j], beta, kl)[k];
  const chosen = mean(wins, (i) => s[i]);
  const rejected = mean(wins, (_, j) => s[j]);
  const slopes = ALL.map((y) => mean(wins, (i, j) => (
    (i === y ? part(1)(i, j) : 0) + (j === y ? part(2)(i, j) : 0))));
  return { loss: mean(wins, part(0)), chosen, rejected, margin: chosen - rejected, slopes };
}
/** Features (3, 4): one common number with the share q, and one number for each response. */
export function features(q) {
  const own = matrix((y, k) => (k === y ? Math.sqrt(1 - q) : 0));
  return ALL.map((y) => [Math.sqrt(q) * COMMON[y], ...own[y]]);
}
/** log pi of parameters theta (4). */
export const logPolicy = (theta, shared, ref) => (
  softmax(ALL.map((y) => Math.log(ref[y]) + dot(shared[y], theta))));
/** A learning rate at which steps on all votes do not overshoot. */
export function learningRate(kind, wins, shared, beta) {
  const apart = (i, j) => shared[i].reduce((sum, x, k) => sum + (x - shared[j][k]) ** 2, 0);
  const trace = mean(wins, apart);
  return kind === "ipo" ? 0.25 / trace : (kind === "hinge" ? 0.1 : 2) / (beta ** 2 * trace);
}
/** One gradient step on all votes; `slopes` are those of the loss in log pi. */
export function step(theta, shared, policy, slopes, rate) {
  const logits = ALL.map((y) => slopes[y] - policy[y] * total((k) => slopes[k]));
  return theta.map((x, k) => x - rate * total((y) => shared[y][k] * logits[y]));
}

const compared = (wins) => PAIRS.filter(([i, j]) => wins[i][j] + wins[j][i] > 0);

/** The response that no vote compares with any other, if there is one. */
export function leftOut(wins) {
  const pairs = compared(wins);
  return pairs.length === 1 ? 3 - pairs[0][0] - pairs[0][1] : null;
}
/** Orthonormal directions of the rewards that the votes see. */
function directions(wins) {
  const pairs = compared(wins);
  if (pairs.length > 1) return PLANE;
  return pairs.map(([i, j]) => ALL.map((y) => Math.SQRT1_2 * ((y === i) - (y === j))));
}

/** Groups that may rise above the rest for ever: at no height does it cost anything. */
export function runaways(kind, wins) {
  if (kind !== "dpo" && kind !== "robust") return [];
  const e = kind === "robust" ? NOISE : 0;
  return [[0], [1], [2], [0, 1], [0, 2], [1, 2]].filter((group) => {
    const up = mean(wins, (i, j) => Number(group.includes(i) && !group.includes(j)));
    const down = mean(wins, (i, j) => Number(!group.includes(i) && group.includes(j)));
    return up + down > 0 && (1 - e) * down - e * up <= 1e-12;
  });
}
/** Solve a system of one or two equations. */
function solve(m, v) {
  if (v.length < 2) return v.map((x) => x / m[0][0]);
  const det = m[0][0] * m[1][1] - m[0][1] * m[1][0];
  return [(m[1][1] * v[0] - m[0][1] * v[1]) / det, (m[0][0] * v[1] - m[1][0] * v[0]) / det];
}
const along = (basis, at) => ALL.map((y) => basis.reduce((sum, u, k) => sum + u[y] * at[k], 0));

/** Implicit rewards of least loss by damped Newton steps; for losses curved everywhere. */
function newton(kind, wins, beta) {
  const basis = directions(wins);
  let reward = [0, 0, 0];
  for (let k = 0; basis.length > 0 && k < 200; k += 1) {
    const part = (n) => (i, j) => marginLoss(kind, reward[i] - reward[j], beta)[n];
    const slope = basis.map((u) => -mean(wins, (i, j) => part(1)(i, j) * (u[i] - u[j])));
    const curvature = basis.map((u) => basis.map((v) => (
      mean(wins, (i, j) => part(2)(i, j) * (u[i] - u[j]) * (v[i] - v[j])))));
    const move = along(basis, solve(curvature, slope));
    const size = Math.max(...move) - Math.min(...move);
    if (!(size > 1e-14)) break;
    reward = reward.map((r, y) => r + (move[y] * Math.log1p(size)) / size);
  }
  return reward;
}

/** Implicit rewards of least hinge loss, where margins of 1 or -1 cross; whether these are many. */
function hinges(wins) {
  const [basis, pairs] = [directions(wins), compared(wins)];
  const rows = pairs.map(([i, j]) => basis.map((u) => u[i] - u[j]));
  const crossed = basis.length < 2 ? [[0]] : PAIRS.filter((two) => two[1] < rows.length);
  const sides = basis.length < 2 ? [[1], [-1]] : [[1, 1], [1, -1], [-1, 1], [-1, -1]];
  const found = crossed.flatMap((two) => sides.map((side) => {
    const reward = along(basis, solve(two.map((k) => rows[k]), side));
    const loss = mean(wins, (i, j) => marginLoss("hinge", reward[i] - reward[j], 1)[0]);
    return { reward, loss, size: dot(reward, reward) };
  }));
  const least = Math.min(...found.map((one) => one.loss));
  const all = found.filter((one) => one.loss < least + 1e-12).sort((u, v) => u.size - v.size);
  const far = (one) => one.reward.some((r, y) => Math.abs(r - all[0].reward[y]) > 1e-6);
  return { reward: all[0].reward, many: all.some(far) || least < 1e-12 };
}

/** Where KTO ends: the policy of least loss, found again with its own divergence put in. */
function settled(wins, ref, beta) {
  let [policy, kl, before] = [ref, 0, 1];
  for (let round = 0; round < 8 && Math.abs(kl - before) > 1e-9; round += 1) {
    policy = scan((p) => {
      const s = implicitReward(p.map((x) => Math.max(x, 1e-300)), ref, beta);
      return mean(wins, (i, j) => pairLoss("kto", s[i], s[j], beta, kl)[0]);
    });
    [before, kl] = [kl, klDivergence(policy, ref)];
  }
  return policy;
}

/** The policy of least cost on the closed triangle, by grids that wander and narrow. */
function scan(cost) {
  let [best, middle, width, steps] = [{ cost: Infinity }, [0.5, 0.5], 0.5, 40];
  for (let round = 0; round < 22; round += 1) {
    for (let at = 0; at < (steps + 1) ** 2; at += 1) {
      const [i, j] = [at % (steps + 1), Math.floor(at / (steps + 1))];
      const a = Math.min(Math.max(middle[0] + width * ((2 * i) / steps - 1), 0), 1);
      const b = Math.min(Math.max(middle[1] + width * ((2 * j) / steps - 1), 0), 1 - a);
      const policy = [a, b, Math.max(1 - a - b, 0)];
      const value = cost(policy);
      if (value < best.cost) best = { cost: value, policy };
    }
    [middle, width, steps] = [best.policy, Math.min(0.1, width * 0.6), 12];
  }
  return best.policy;
}

/** Where a loss leads a table from `ref`; ends: at a "minimum", at one of "many", "never". */
export function optimum(kind, wins, ref, beta) {
  if (kind === "kto") return { policy: settled(wins, ref, beta), ends: "minimum" };
  const [groups, basis] = [runaways(kind, wins), directions(wins)];
  const apart = (i, j) => groups.some((group) => group.includes(i) !== group.includes(j));
  const within = matrix((i, j) => (apart(i, j) ? 0 : wins[i][j]));
  const height = ALL.map((y) => 800 * beta * groups.filter((group) => group.includes(y)).length);
  const risen = along(basis, basis.map((u) => dot(u, height)));
  const hinge = kind === "hinge" ? hinges(wins) : null;
  const reward = hinge ? hinge.reward : newton(kind, within, beta).map((r, y) => r + risen[y]);
  const ends = groups.length > 0 ? "never" : hinge?.many ? "many" : "minimum";
  return { policy: optimalPolicy(reward, ref, beta), ends };
}
/** The ends of the line of policies that votes on one pair cannot tell from `policy`. */
export function valley(policy, alone) {
  const rest = 1 - policy[alone];
  return [policy.map((p, y) => (y === alone ? 0 : p / rest)), ALL.map((y) => Number(y === alone))];
}

/** Fisher information of the rewards in votes that are `comparisons[i][j]` times on i and j. */
export function information(reward, comparisons) {
  const p = preference(reward);
  const weight = matrix((i, j) => comparisons[i][j] * p[i][j] * p[j][i]);
  return matrix((i, j) => (i === j ? total((k) => weight[i][k]) : 0) - weight[i][j]);
}

/** Rewards on the rim of the Cramer-Rao region, which 95 of 100 estimates from many votes meet. */
export function ellipse(reward, comparisons, points = 96) {
  const full = information(reward, comparisons);
  const [[aa, ab], [, bb]] = PLANE.map((u) => PLANE.map((v) => dot(u, full.map((m) => dot(m, v)))));
  const [low, side] = [Math.sqrt(aa), ab / Math.sqrt(aa)]; // Cholesky
  return Array.from({ length: points }, (_, k) => {
    const turn = (2 * Math.PI * k) / points;
    const second = (RADIUS * Math.sin(turn)) / Math.sqrt(bb - side ** 2);
    const first = (RADIUS * Math.cos(turn) - side * second) / low;
    return along(PLANE, [first, second]).map((d, y) => reward[y] + d);
  });
}
/** Whether a policy's implicit rewards lie in that region. */
export function inside(policy, ref, beta, reward, comparisons) {
  const off = implicitReward(policy, ref, beta).map((r, y) => r - reward[y]);
  return dot(off, information(reward, comparisons).map((row) => dot(row, off))) <= RADIUS ** 2;
}
