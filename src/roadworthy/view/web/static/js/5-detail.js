// What stands behind a line: an incident's last words, an error's traceback.
function openDialog(title, ...body) {
  const dialog = $("detail");
  dialog.replaceChildren(h("div", { class: "bar" }, h("h2", {}, title), h("span", { class: "grow" }), h("button", { type: "button", on: { click: () => dialog.close() } }, "Close")), h("div", { class: "body" }, ...body));
  dialog.showModal();
  return dialog;
}
const fact = (label, value) => h("div", {}, h("b", {}, value), h("span", {}, label));
const block = (title, ...content) => (content.length ? [h("h3", {}, title), ...content] : []);
function curve(points, kind) {
  const canvas = h("canvas", { role: "img", "aria-label": "resource curve" });
  requestAnimationFrame(() => {
    const ratio = devicePixelRatio, w = (canvas.width = canvas.clientWidth * ratio), t = (canvas.height = 64 * ratio), pen = canvas.getContext("2d");
    const most = Math.max(...points.filter(known), 1e-12), x = (i) => (i / Math.max(1, points.length - 1)) * w, y = (v) => t - 4 - (v / most) * (t - 22 * ratio);
    pen.strokeStyle = colour("--c1"); pen.fillStyle = colour("--dim"); pen.lineWidth = 1.6 * ratio; pen.font = `${11 * ratio}px system-ui`; pen.beginPath();
    let down = false;
    points.forEach((v, i) => { if (!known(v)) { down = false; return; } if (down) pen.lineTo(x(i), y(v)); else pen.moveTo(x(i), y(v)); down = true; });
    pen.stroke(); pen.fillText(`most ${show(most, kind)}`, 2, 12 * ratio);
  });
  return canvas;
}
function openError(e) {
  openDialog(`${e.type}${e.handled ? "" : " · not handled"}`, h("p", { class: "lead" }, e.message),
    h("div", { class: "facts" }, fact("times", show(e.count, "count")), fact("first", clock(e.first)), fact("last", clock(e.last)), fact("operation", e.operation || none), fact("fingerprint", e.fingerprint)),
    ...block("Traceback", h("pre", {}, e.traceback || "none was recorded")));
}
// A metric of the last words: its name and labels, and its figures in its unit.
function metricLine(m) {
  const labels = Object.entries(m.labels ?? {}).map(([k, v]) => `${k}=${v}`).join(", ");
  const kind = m.unit === "s" ? "seconds" : m.unit === "By" ? "bytes" : "count";
  const figures = "count" in m ? `${show(m.count, "count")} times, mean ${show(m.mean, kind)}, p95 ${show(m.p95, kind)}, most ${show(m.max, kind)}` : show(m.value, kind);
  return `${m.name}${labels ? ` {${labels}}` : ""}  ${figures}`;
}
async function openIncident(i) {
  const answer = await fetch(`/api/incidents/${encodeURIComponent(i.id)}`, { headers: headers() });
  if (!answer.ok) { toast(`The incident could not be read: ${answer.status}`); return; }
  const b = await answer.json(), inside = [];
  inside.push(h("p", { class: "lead" }, b.exit?.words || exitWords(i.exit) || b.title || i.title));
  inside.push(h("div", { class: "facts" }, fact("worker", known(i.slot) ? `${i.slot}` : none), fact("pid", known(i.pid) ? `${i.pid}` : none), fact("at", new Date(i.at * 1000).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" })), fact("detected after", span(i.detected_after)), fact("running again after", span(i.recovered_after))));
  const flights = b.in_flight ?? [];
  if (flights.length) inside.push(...block("It was doing", h("pre", {}, flights.map((f) => `${f.name}  for ${span(f.age)}${f.context ? `  ${f.context}` : ""}${f.parent ? `  (inside ${f.parent})` : ""}`).join("\n"))));
  const events = b.events ?? [];
  inside.push(...block("Its last words", h("pre", {}, events.length ? events.slice(-60).map((e) => `${clock(e.at)}  ${e.level.padEnd(8)} ${e.source}  ${e.text}${e.torn ? "  [torn record]" : ""}`).join("\n") : "no event in the last minute")));
  const out = b.output ?? {};
  for (const [name, tail] of Object.entries(out)) if (tail && (Array.isArray(tail) ? tail.length : String(tail).trim())) inside.push(...block(`Last output on ${name}`, h("pre", {}, Array.isArray(tail) ? tail.join("\n") : String(tail))));
  const samples = b.resources ?? [];
  if (samples.length > 1) inside.push(...block("Memory and CPU before it", curve(samples.map((p) => p.rss), "bytes"), curve(samples.map((p) => p.cpu_percent), "percent")));
  if (b.stacks) inside.push(...block("Stacks", h("pre", {}, b.stacks)));
  const metrics = b.metrics ?? [];
  if (metrics.length) inside.push(...block("Last metrics", h("pre", {}, metrics.map(metricLine).join("\n"))));
  inside.push(h("p", {}, h("a", { href: `/api/incidents/${encodeURIComponent(i.id)}`, target: "_blank", rel: "noopener" }, "the whole bundle as JSON")));
  openDialog(`Incident · ${words(i.kind)}`, ...inside);
}
