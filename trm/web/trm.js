// A tiny recursive model in plain JavaScript: one supervised step on one board, as `trm` takes it in Python.
//
//     import {Model, think} from './trm.js';
//     const model = new Model(await (await fetch('model.json')).json());
//     for (const step of think(model, model.parse('53..7....6..195...'), 16)) console.log(model.text(step.answer), step.q);
//
// Numbers are stored in single precision and summed in double. Arrays are flat; shapes stand in the comments, with
// l cells, k vectors of each cell (1, or one for each digit) of d numbers, and m hidden ones.

// Arithmetic

// x·wᵀ: x (n,a) and w (b,a) to (n,b), two rows and four columns at a time
function matmul(x, w, n, a, b) {
  const y = new Float32Array(n*b);
  for (let i = 0; i<n; i += 2) {
    const p0 = i*a, i1 = Math.min(i+1, n-1), p1 = i1*a;
    for (let o = 0; o<b; o += 4) {
      const o1 = Math.min(o+1, b-1), o2 = Math.min(o+2, b-1), o3 = Math.min(o+3, b-1);
      const q0 = o*a, q1 = o1*a, q2 = o2*a, q3 = o3*a;
      let s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
      for (let j = 0; j<a; j++) {
        const u = x[p0+j], v = x[p1+j], w0 = w[q0+j], w1 = w[q1+j], w2 = w[q2+j], w3 = w[q3+j];
        s00 += u*w0; s01 += u*w1; s02 += u*w2; s03 += u*w3;
        s10 += v*w0; s11 += v*w1; s12 += v*w2; s13 += v*w3;
      }
      const r0 = i*b, r1 = i1*b;
      y[r0+o] = s00; y[r0+o1] = s01; y[r0+o2] = s02; y[r0+o3] = s03;
      y[r1+o] = s10; y[r1+o1] = s11; y[r1+o2] = s12; y[r1+o3] = s13;
    }
  }
  return y;
}

const sigmoid = v => 1/(1+Math.exp(-v));

function sum(...parts) {
  const y = Float32Array.from(parts[0]);
  for (let j = 1; j<parts.length; j++) for (let i = 0; i<y.length; i++) y[i] += parts[j][i];
  return y;
}

// Each row of d numbers divided by its root mean square
function rmsNorm(x, d) {
  const y = new Float32Array(x.length);
  for (let i = 0; i<x.length; i += d) {
    let s = 0;
    for (let j = i; j<i+d; j++) s += x[j]*x[j];
    s = 1/Math.sqrt(s/d+1e-5);
    for (let j = i; j<i+d; j++) y[j] = x[j]*s;
  }
  return y;
}

// (n,d) to (d,n)
function transpose(x, n, d) {
  const y = new Float32Array(x.length);
  for (let i = 0; i<n; i++) for (let j = 0; j<d; j++) y[j*n+i] = x[i*d+j];
  return y;
}

// The mean of each `size` rows that follow each other: (n·size,d) to (n,d)
function rowMeans(x, size, d) {
  const n = x.length/(size*d), y = new Float32Array(n*d);
  for (let i = 0; i<n*size; i++) for (let j = 0; j<d; j++) y[(i/size|0)*d+j] += x[i*d+j]/size;
  return y;
}

const argmax = (x, from, to) => {
  let best = from;
  for (let i = from+1; i<to; i++) if (x[i]>x[best]) best = i;
  return best-from;
};

// bfloat16 is the upper half of a float32
function decode({shape, data}) {
  const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0)), bits = new Uint16Array(bytes.buffer);
  const values = new Float32Array(Uint32Array.from(bits, b => b<<16).buffer);
  return {shape, values};
}

// Layers

// SwiGLU, or its normed form, over rows of d numbers; `extra` (n/size,2m) is added to the hidden numbers of each `size` rows
function glu(w, name, x, cfg, extra, size) {
  const up = w[name+'.gate_up.weight'], [m2, d] = up.shape, m = m2/2, n = x.length/d;
  const h = matmul(x, up.values, n, d, m2), g = new Float32Array(n*m);
  if (extra) for (let i = 0; i<n; i++) for (let j = 0; j<m2; j++) h[i*m2+j] += extra[(i/size|0)*m2+j];
  const normed = cfg.gate==='normed';
  for (let i = 0; i<n; i++) {
    for (let j = 0; j<m; j++) {
      const gate = h[i*m2+j], u = h[i*m2+m+j];
      g[i*m+j] = normed ? gate*u : gate*sigmoid(gate)*u;
    }
  }
  const y = normed ? rmsNorm(g, m) : g;
  if (normed) for (let i = 0; i<n; i++) for (let j = 0; j<m; j++) y[i*m+j] *= sigmoid(h[i*m2+j]);
  return matmul(y, w[name+'.down.weight'].values, n, m, d);
}

// A sublayer over rows of d numbers, with its norm
const add = (cfg, f, h, d) => cfg.norm==='pre' ? sum(h, f(rmsNorm(h, d))) : rmsNorm(sum(h, f(h)), d);

// Self-attention of all with all, h (l,d)
function attention(w, name, h, cfg, rope) {
  const d = cfg.d_model, l = h.length/d, heads = cfg.n_heads, e = d/heads, half = e/2;
  const qkv = matmul(h, w[name+'.qkv.weight'].values, l, d, 3*d), out = new Float32Array(l*d), p = new Float64Array(l);
  if (rope) { // turn each pair by the angle of its position
    for (let i = 0; i<l; i++) for (let c = 0; c<2*heads; c++) for (let j = 0; j<half; j++) {
      const at = i*3*d+c*e+j, a = qkv[at], b = qkv[at+half], [cos, sin] = rope[i*half+j];
      qkv[at] = a*cos-b*sin;
      qkv[at+half] = b*cos+a*sin;
    }
  }
  for (let c = 0; c<heads; c++) for (let i = 0; i<l; i++) {
    let most = -Infinity, total = 0;
    for (let k = 0; k<l; k++) {
      let s = 0;
      for (let j = 0; j<e; j++) s += qkv[i*3*d+c*e+j]*qkv[k*3*d+d+c*e+j];
      p[k] = s/Math.sqrt(e);
      most = Math.max(most, p[k]);
    }
    for (let k = 0; k<l; k++) total += p[k] = Math.exp(p[k]-most);
    for (let k = 0; k<l; k++) for (let j = 0; j<e; j++) out[i*d+c*e+j] += p[k]/total*qkv[k*3*d+2*d+c*e+j];
  }
  return matmul(out, w[name+'.out.weight'].values, l, d, d);
}

// A layer of each kind of network; h (l,k·d)
const layers = {
  TRM({cfg, w, rope}, name, h) {
    const d = cfg.d_model, l = h.length/d;
    if (cfg.mixer==='mlp') h = transpose(add(cfg, t => glu(w, name+'.mix', t, cfg), transpose(h, l, d), l), d, l);
    else h = add(cfg, h => attention(w, name+'.mix', h, cfg, rope), h, d);
    return add(cfg, h => glu(w, name+'.mlp', h, cfg), h, d);
  },
  SymbolTRM({cfg, w}, name, h) {
    const d = cfg.d_model, k = cfg.symbols, l = h.length/(k*d), pool = w[name+'.pool.weight'];
    h = transpose(add(cfg, t => glu(w, name+'.mix', t, cfg), transpose(h, l, k*d), l), k*d, l);
    return add(cfg, h => glu(w, name+'.mlp', h, cfg, matmul(rowMeans(h, k, d), pool.values, l, d, pool.shape[0]), k), h, d);
  },
  UnitTRM({cfg, w, units}, name, h) {
    return add(cfg, h => glu(w, name+'.mlp', h, cfg), add(cfg, h => hear(cfg, w, units, name+'.mix', h), h, cfg.d_model), cfg.d_model);
  },
};

// Which group each candidate (cell, digit) belongs to: the cell, its row, column and box for this digit
function makeUnits(k) {
  let rows = Math.floor(Math.sqrt(k));
  while (k%rows) rows--;
  const cols = k/rows, units = {cell: [], row: [], column: [], box: []};
  for (let cell = 0; cell<k*k; cell++) for (let s = 0; s<k; s++) {
    const r = cell/k|0, c = cell%k;
    units.cell.push(cell);
    units.row.push(r*k+s);
    units.column.push(c*k+s);
    units.box.push(((r/rows|0)*rows+(c/cols|0))*k+s);
  }
  return units;
}

// What the groups say to their members; h (l·k,d)
function hear(cfg, w, units, name, h) {
  const d = cfg.d_model, k = cfg.symbols, groups = k*k, all = rowMeans(h, h.length/d, d), y = new Float32Array(h.length);
  for (const [kind, of] of Object.entries(units)) {
    const m = new Float32Array(groups*d);
    for (let i = 0; i<of.length; i++) for (let j = 0; j<d; j++) m[of[i]*d+j] += h[i*d+j]/k;
    for (let i = 0; i<groups; i++) for (let j = 0; j<d; j++) m[i*d+j] = (m[i*d+j]-all[j])*Math.sqrt(k);
    const said = glu(w, `${name}.${kind==='row' || kind==='column' ? 'line' : kind}`, m, cfg);
    for (let i = 0; i<of.length; i++) for (let j = 0; j<d; j++) y[i*d+j] += said[of[i]*d+j];
  }
  return y;
}

// The network

export class Model {
  // `json` is what `trm_export` writes
  constructor(json) {
    Object.assign(this, {name: json.name, network: json.network, cfg: json.model, task: json.task});
    if (!layers[this.network]) throw new Error(`network=${this.network}: not known here; should be ${Object.keys(layers).join(', ')}`);
    this.w = Object.fromEntries(Object.entries(json.weights).map(([k, v]) => [k, decode(v)]));
    this.k = this.network==='TRM' ? 1 : this.cfg.symbols;
    this.rope = this.cfg.position==='rotary' && this.cfg.mixer==='attention' && makeRope(this.cfg);
  }

  // The groups of a Sudoku, made once
  get units() { return this.made ||= makeUnits(this.task.side); }

  // Tokens (l) to vectors (l,k·d)
  embed(ids) {
    const {d_model: d, vocab_size: v, seq_len: l} = this.cfg, {k} = this, first = v-k, table = this.w['embed.weight'].values;
    if (ids.length!==l) throw new Error(`a board of ${ids.length} cells; should have ${l}`);
    const x = new Float32Array(l*k*d), pos = this.w.pos && this.w.pos.values;
    for (let i = 0; i<l; i++) for (let s = 0; s<k; s++) {
      const row = k===1 || ids[i]<first ? ids[i] : first+(ids[i]!==first+s);
      for (let j = 0; j<d; j++) {
        const e = table[row*d+j]*Math.sqrt(d);
        x[(i*k+s)*d+j] = pos ? e*Math.sqrt(.5)+pos[i*d+j]*Math.sqrt(d/2) : e;
      }
    }
    return x;
  }

  // The state before the first step: [y, z], or [y] of a looped network
  start(x) {
    if (this.cfg.states===1) return [x];
    const fill = name => x.map((_, i) => this.w[name].values[i%this.cfg.d_model]);
    return [fill('y_init'), fill('z_init')];
  }

  block(h) {
    for (let i = 0; i<this.cfg.n_layers; i++) h = layers[this.network](this, `block.layers.${i}`, h);
    return this.cfg.norm==='post' ? h : rmsNorm(h, this.cfg.d_model);
  }

  // One supervised step: the next state
  recur(x, state) {
    const {states, inject, n_cycles, n_latent} = this.cfg;
    let [y, z] = state;
    if (states===1) return [this.block(inject ? sum(y, x) : y)];
    for (let t = 0; t<n_cycles; t++) {
      for (let i = 0; i<n_latent; i++) z = this.block(sum(x, y, z));
      y = this.block(sum(y, z));
    }
    return [y, z];
  }

  // Logits (l,v)
  readOut(y) {
    const {d_model: d, vocab_size: v, seq_len: l} = this.cfg, {k} = this, [n] = this.w['head.weight'].shape;
    const out = matmul(y, this.w['head.weight'].values, l*k, d, n);
    if (k===1) return out;
    const logits = new Float32Array(l*v), others = v-k; // of other tokens the mean over the vectors of a cell
    for (let i = 0; i<l; i++) for (let s = 0; s<k; s++) {
      for (let o = 0; o<others; o++) logits[i*v+o] += out[(i*k+s)*n+o]/k;
      logits[i*v+others+s] = out[(i*k+s)*n+others];
    }
    return logits;
  }

  // The halting probability, or null
  readHalt(y) {
    if (!this.cfg.halt) return null;
    const d = this.cfg.d_model, rows = this.network==='UnitTRM' ? y : y.subarray(0, this.k*d), h = rowMeans(rows, rows.length/d, d);
    return sigmoid(matmul(h, this.w['halt_head.weight'].values, 1, d, 2)[0]+this.w['halt_head.bias'].values[0]);
  }

  // One supervised step on a board of tokens: logits (l,v), the halting probability q, the answer (l) and the next state
  step(ids, state) {
    const x = this.embed(ids), next = this.recur(x, state || this.start(x)), {vocab_size: v, seq_len: l} = this.cfg;
    const logits = this.readOut(next[0]), answer = Array.from({length: l}, (_, i) => argmax(logits, i*v, (i+1)*v));
    return {logits, q: this.readHalt(next[0]), answer, state: next};
  }

  // A board as people write it to tokens, and back; 0, `.`, `_` and `*` are empty cells
  parse(text) {
    const {chars} = this.task, cells = [...text.replace(/[\s|+\-]/g, '').replace(/[0_*]/g, '.')], l = this.cfg.seq_len;
    const wrong = cells.find(c => !chars.includes(c));
    if (wrong) throw new Error(`“${wrong}” is no cell of this board; should be one of ${chars}`);
    if (cells.length!==l) throw new Error(`a board of ${cells.length} cells; should have ${l}`);
    return cells.map(c => 1+chars.indexOf(c));
  }

  text(ids) { return ids.map(i => this.task.chars[i-1] || '?').join(''); }
}

function makeRope(cfg) {
  const e = cfg.d_model/cfg.n_heads, table = [];
  for (let i = 0; i<cfg.seq_len; i++) for (let j = 0; j<e/2; j++) {
    const angle = i*Math.fround(1e4**(-2*j/e));
    table.push([Math.cos(angle), Math.sin(angle)]);
  }
  return table;
}

// Step after step, from the start or from a state
export function* think(model, ids, steps = model.cfg.n_recurrence, state = null) {
  for (let t = 1; t<=steps; t++) {
    const step = model.step(ids, state);
    state = step.state;
    yield {t, ...step};
  }
}

// Sudoku

// The cells that break a rule: a digit twice in a row, column or box, or a clue changed. Of a whole board: none means solved
export function conflicts(model, answer, ids = answer) {
  const k = model.task.side, seen = new Map(), bad = new Set();
  const {row, column, box} = model.units;
  answer.forEach((token, i) => {
    if (ids[i]>1 && token!==ids[i]) bad.add(i);
    if (token<2) return;
    for (const [kind, of] of Object.entries({row, column, box})) {
      const key = `${kind} ${of[i*k]} ${token}`;
      if (seen.has(key)) bad.add(i).add(seen.get(key));
      seen.set(key, i);
    }
  });
  return bad;
}

export const solved = (model, answer, ids) => answer.every(t => t>1) && !conflicts(model, answer, ids).size;

// A question with one more cell filled in, drawn by what the network says: the cell by its doubt, the digit by its probability
export function guess(model, ids, logits, random = Math.random) {
  const v = model.cfg.vocab_size, p = ids.map((_, i) => softmax(logits.subarray(i*v+2, (i+1)*v)));
  const doubt = ids.map((token, i) => token>1 ? 0 : -p[i].reduce((s, q) => s+q*Math.log(Math.max(q, 1e-9)), 0));
  if (!doubt.some(d => d>0)) return ids;
  const cell = pick(doubt, random);
  return ids.map((t, i) => i===cell ? 2+pick(p[cell], random) : t);
}

function softmax(x) {
  const most = Math.max(...x), e = Array.from(x, v => Math.exp(v-most)), total = e.reduce((a, b) => a+b);
  return e.map(v => v/total);
}

function pick(weights, random) {
  let at = random()*weights.reduce((a, b) => a+b);
  for (let i = 0; i<weights.length; i++) if ((at -= weights[i])<0) return i;
  return weights.length-1;
}
