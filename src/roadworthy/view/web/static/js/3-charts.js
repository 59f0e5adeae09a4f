// Eight charts with one cursor. Each line is a figure of the snapshot's `gauges`; a gap is a second without a measurement.
const CHARTS = [
  { id: "rate", title: "Rate", kind: "rate", lines: [["requests.rate", "operations", "--c1", true]] },
  { id: "latency", title: "Latency", kind: "seconds", now: "latency.p95", lines: [["latency.p50", "p50", "--c1"], ["latency.p95", "p95", "--c2"], ["latency.p99", "p99", "--c3"]] },
  { id: "errors", title: "Errors", kind: "rate", lines: [["errors.rate", "errors", "--bad", true]] },
  { id: "inflight", title: "In flight", kind: "count", lines: [["in_flight", "in flight", "--c2", true]] },
  { id: "loop", title: "Event loop lag", kind: "seconds", lines: [["loop.lag", "lag", "--c1", true]], instead: { when: "loop.fps", title: "Frames per second", kind: "fps", lines: [["loop.fps", "fps", "--c1", true]] } },
  { id: "cpu", title: "CPU", kind: "percent", hint: "of one core", lines: [["cpu.percent", "all processes", "--c1", true]] },
  { id: "memory", title: "Memory", kind: "bytes", now: "rss.bytes", lines: [["rss.bytes", "resident", "--c2", true], ["rss.limit", "limit", "--bad", false, [5, 4]]] },
  { id: "gc", title: "Garbage collection", kind: "seconds", hint: "pause per second", lines: [["gc.pause", "pause", "--c3", true]] },
];
const NAMES = [...new Set(CHARTS.flatMap((c) => [...c.lines, ...(c.instead?.lines ?? [])].map((l) => l[0])))];
const WINDOWS = { "5 min": 300, "1 h": 3600, "24 h": 86400, "7 d": 604800 };
const charts = { span: 300, at: [], values: Object.fromEntries(NAMES.map((n) => [n, []])), plots: new Map() };
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A bound (dashed) that is far above what was measured would press it flat: the scale is then that of what was measured.
const FAR = 4;
function topOf(spec, high) {
  const most = Math.max(0, ...spec.lines.filter((line) => !line[4]).flatMap(([name]) => charts.values[name].filter(known)));
  return most > 0 && high > most * FAR && spec.lines.some((line) => line[4]) ? most : high;
}
function specOf(chart) { const other = chart.instead; return other && charts.values[other.when].some(known) ? { ...chart, ...other } : chart; }
function buildChart(chart) {
  const spec = specOf(chart), box = $(`chart-${chart.id}`), plot = box.querySelector(".plot");
  charts.plots.get(chart.id)?.plot.destroy();
  plot.replaceChildren();
  box.querySelector("h2").textContent = spec.title;
  const axis = { stroke: colour("--dim"), font: "10.5px system-ui", grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false } };
  const data = [charts.at, ...spec.lines.map(([name]) => charts.values[name])];
  const made = new uPlot({
    width: Math.max(120, plot.clientWidth), height: plot.clientHeight, legend: { show: false }, padding: [6, 4, 0, 0],
    cursor: { sync: { key: "all", setSeries: false }, points: { size: 6 }, y: false, drag: { x: false, y: false } },
    scales: { x: { time: true, range: () => { const end = charts.at[charts.at.length - 1] ?? Date.now() / 1000; return [end - charts.span, end]; } },
      y: { range: (_, low, high) => [Math.min(0, low ?? 0), !known(high) || high <= 0 ? 1 : topOf(spec, high) * 1.12] } },
    axes: [{ ...axis, size: 20, gap: 3, space: 60, values: [[86400, "{D}/{M}", null, null, null, null, null, null, 1], [3600, "{HH}:{mm}", null, null, null, null, null, null, 1], [60, "{HH}:{mm}", null, null, null, null, null, null, 1], [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]] },
      { ...axis, size: 50, gap: 4, space: 30, values: (_, ticks) => ticks.map((tick) => show(tick, spec.kind)) }],
    series: [{}, ...spec.lines.map(([, label, ink, fill, dash]) => ({ label, stroke: colour(ink), width: 1.6, dash, points: { show: false }, spanGaps: false,
      fill: fill ? `color-mix(in srgb, ${colour(ink)} 13%, transparent)` : undefined }))],
    hooks: { setCursor: [(u) => legend(spec, box, u.cursor.idx)] },
  }, data, plot);
  charts.plots.set(chart.id, { plot: made, spec, box });
  legend(spec, box, null);
}
function legend(spec, box, index) {
  const line = box.querySelector(".legend"), at = known(index) ? index : null;
  const shown = spec.lines.filter(([name]) => at === null || known(charts.values[name][at]));
  const wanted = at === null && spec.lines.length === 1 ? (spec.hint ?? "") : null;
  if (wanted !== null) { text(line, wanted); return; }
  line.replaceChildren(...shown.map(([name, label, ink, , bound]) => {
    const i = h("i"), value = charts.values[name][at ?? (bound ? charts.at.length - 1 : -1)]; // a bound's value is always told
    i.style.background = `var(${ink})`;
    return h("span", {}, i, known(value) ? `${label} ${show(value, spec.kind)}` : label);
  }), at === null ? "" : clock(charts.at[at]));
}
function drawCharts(gauges) {
  for (const chart of CHARTS) {
    let held = charts.plots.get(chart.id);
    if (held && held.spec.title !== specOf(chart).title) { buildChart(chart); held = charts.plots.get(chart.id); }
    if (!held || !onScreen.has(held.box.id)) continue;
    const { plot, spec, box } = held;
    plot.setData([charts.at, ...spec.lines.map(([name]) => charts.values[name])]);
    const now = gauges[spec.now ?? spec.lines[0][0]], node = box.querySelector(".now");
    const [value, bare] = known(now) ? parts[spec.kind](now) : [none, ""];
    const unit = spec.now ? `${bare} ${spec.lines.find(([name]) => name === spec.now)[1]}` : bare; // which of the lines it is
    if (node.stamp !== value + unit) { node.stamp = value + unit; node.replaceChildren(value, h("small", {}, unit)); }
    if (!known(plot.cursor.idx)) legend(spec, box, null);
    const empty = !spec.lines.some(([name]) => charts.values[name].some(known));
    let note = box.querySelector(".none");
    if (empty && !note) box.querySelector(".plot").append(h("div", { class: "none" }, "nothing measured yet"));
    if (!empty && note) note.remove();
  }
}
function pushPoint(at, gauges) {
  const last = charts.at[charts.at.length - 1];
  const step = charts.span / 600;
  if (last !== undefined && at - last < Math.max(0.5, step)) return false;
  if (last !== undefined && at - last > Math.max(5, step * 3)) { charts.at.push(last + step); for (const name of NAMES) charts.values[name].push(null); }
  charts.at.push(at);
  for (const name of NAMES) charts.values[name].push(known(gauges[name]) ? gauges[name] : null);
  const start = at - charts.span * 1.05;
  let cut = 0;
  while (charts.at[cut] < start) cut++;
  if (cut) { charts.at.splice(0, cut); for (const name of NAMES) charts.values[name].splice(0, cut); }
  return true;
}
async function loadHistory() {
  const wanted = charts.span;
  const answer = await fetch(`/api/history?seconds=${wanted}&points=600&names=${NAMES.join(",")}`, { headers: headers() });
  if (!answer.ok || wanted !== charts.span) return;
  const found = (await answer.json()).series ?? {}, times = new Set();
  for (const name of NAMES) for (const [at] of found[name] ?? []) times.add(at);
  charts.at = [...times].sort((a, b) => a - b);
  for (const name of NAMES) { const by = new Map(found[name] ?? []); charts.values[name] = charts.at.map((at) => by.get(at) ?? null); }
}
function buildCharts() {
  const grid = $("charts");
  if (!grid.children.length) for (const chart of CHARTS) grid.append(h("div", { class: "card chart", id: `chart-${chart.id}` },
    h("div", { class: "head" }, h("h2", {}, chart.title), h("div", { class: "now" }, none)), h("div", { class: "legend" }), h("div", { class: "plot" })));
  for (const chart of CHARTS) { buildChart(chart); screenWatch.observe($(`chart-${chart.id}`)); }
}
new ResizeObserver(() => { for (const { plot, box } of charts.plots.values()) { const room = box.querySelector(".plot"); if (Math.abs(plot.width - room.clientWidth) > 2) plot.setSize({ width: room.clientWidth, height: room.clientHeight }); } }).observe($("charts"));
