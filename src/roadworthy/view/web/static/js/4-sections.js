// The sections below the charts: each draws one list of the snapshot.
const exitWords = (exit) => (exit ? exit.words || (known(exit.signal) ? `signal ${exit.signal}` : known(exit.code) ? `exit ${exit.code}` : "exit status unknown") : "");
let view = null; // the newest snapshot
const ago = (at) => (view.at - at < 1 ? "now" : `${span(view.at - at)} ago`);

function drawVerdict(s) {
  const v = s.verdict, box = $("verdict");
  css(box, `verdict ${v.status}`);
  text(box.querySelector(".word"), v.status);
  text(box.querySelector(".why"), v.reason);
  text(box.querySelector(".since"), `since ${clock(v.since)} · ${span(s.at - v.since)}`);
  const list = box.querySelector("ul"), rows = v.findings.filter((f) => f.status !== "ok").slice(0, 8), stamp = JSON.stringify(rows);
  if (list.stamp !== stamp) {
    list.stamp = stamp;
    list.replaceChildren(...rows.map((f) => h("li", {}, pill(f.severity), " ", h("b", {}, f.subject), ` ${f.reason}`, f.evidence ? h("span", { class: "dim" }, ` — ${f.evidence}`) : "")));
  }
  text($("app"), s.app);
  text($("about"), `up ${span(s.at - s.started)} · ${s.workers.length} ${s.workers.length === 1 ? "worker" : "workers"}`);
  document.title = `${v.status === "ok" ? "" : `${v.status} · `}${s.app}`;
}
const WORKERS = [
  ["l", (w) => `${w.slot}`], ["l", (w) => ({ pill: w.state })], ["l", (w) => ({ pill: w.liveness })],
  ["", (w) => (known(w.pid) ? `${w.pid}` : none)], ["", (w) => `${w.restarts}`], ["", (w) => (known(w.started) ? span(view.at - w.started) : none)],
  ["", (w) => ({ text: show(w.resources.cpu_percent, "percent"), meter: w.resources.cpu_percent ?? 0, bad: w.resources.cpu_percent > 90 })],
  ["", (w) => show(w.resources.rss, "bytes")], ["narrow", (w) => show(w.resources.threads, "count")], ["narrow", (w) => show(w.resources.fds, "count")],
  ["l wrap", (w) => ({ text: [w.reason, w.next_start ? `next start in ${span(w.next_start - view.at)}` : "", w.injected === false ? w.inject_reason : "", w.last_exit ? `before: ${exitWords(w.last_exit)}` : ""].filter(Boolean).join(" · "), title: w.command })],
];
const OPERATIONS = [
  ["l wrap", (o) => o.name], ["", (o) => show(o.rate, "rate")], ["", (o) => show(o.count, "count")],
  ["", (o) => (known(o.error_rate) ? { text: show(o.error_rate * 100, "percent"), meter: o.error_rate * 100, bad: o.error_rate > 0.05 } : none)],
  ["", (o) => show(o.p50, "seconds")], ["", (o) => show(o.p95, "seconds")], ["", (o) => show(o.p99, "seconds")], ["narrow", (o) => show(o.max, "seconds")], ["", (o) => show(o.in_flight, "count")],
];
const ERRORS = [
  ["l wrap", (e) => ({ text: `${e.type}: ${e.message}`, title: e.fingerprint })], ["l", (e) => e.operation || none],
  ["", (e) => show(e.count, "count")], ["", (e) => ({ text: ago(e.last), title: clock(e.last) })],
];
const INCIDENTS = [
  ["l", (i) => clock(i.at)], ["l wrap", (i) => i.title],
  ["", (i) => ({ text: span(i.detected_after), title: "from the fault to its detection" })], ["", (i) => ({ text: span(i.recovered_after), title: "from the fault to running again" })],
];
const CHECKS = [
  ["l", (c) => ({ pill: c.status })], ["l", (c) => (known(c.slot) ? `${c.name} · worker ${c.slot}` : c.name)], ["l wrap", (c) => ({ text: c.detail })],
  ["", (c) => ({ text: show(c.duration, "seconds"), title: c.kind })], ["", (c) => (known(c.at) ? ago(c.at) : "never ran")],
];
const SIGNALS = [
  ["l", (g) => g.kind], ["l wrap", (g) => g.name], ["", (g) => show(g.count, "count")],
  ["", (g) => (known(g.last) ? ago(g.last) : none)],
  ["l", (g) => ({ pill: known(g.last) ? (g.stale ? "warning" : "ok") : g.count ? "unknown" : g.declared ? "error" : "unknown", text: known(g.last) ? (g.stale ? "late" : "") : g.count ? "before we looked" : g.declared ? "declared, never came" : "not seen" })],
];
const STARTS = [
  ["l", (u) => clock(u.at)], ["l", (u) => (known(u.slot) ? `${u.slot}` : none)], ["", (u) => (known(u.total) ? span(u.total) : "under way")],
  ["l wrap", (u) => ({ text: [...u.steps].sort((a, b) => b.took - a.took).slice(0, 3).map((step) => `${step.label} ${show(step.took, "seconds")}`).join(" · ") || none, title: u.steps.map((step) => `${step.label}  at ${show(step.at, "seconds")}, took ${show(step.took, "seconds")}`).join("\n") })],
];
const SECTIONS = [
  { id: "workers", title: "Workers", list: (s) => s.workers, key: (w) => w.slot, columns: WORKERS, empty: "no worker is known yet", head: ["slot", "state", "liveness", "pid", "restarts", "up", "CPU", "memory", "threads", "files", "what is known"] },
  { id: "operations", title: "Operations", hint: "worst first", list: (s) => s.operations.slice(0, 40), key: (o) => o.name, columns: OPERATIONS, empty: "no operation was recorded yet", head: ["operation", "rate", "total", "failed", "p50", "p95", "p99", "max", "in flight"] },
  { id: "incidents", title: "Incidents", hint: "select one for its last words", list: (s) => s.incidents, key: (i) => i.id, columns: INCIDENTS, empty: "nothing has died, hung or been replaced", head: ["at", "what", "detected", "recovered"], open: (i) => openIncident(i) },
  { id: "errors", title: "Errors", list: (s) => s.errors.slice(0, 30), key: (e) => e.fingerprint, columns: ERRORS, empty: "no error was recorded", head: ["error", "operation", "count", "last"], open: (e) => openError(e) },
  { id: "checks", title: "Checks", list: (s) => s.checks, key: (c) => `${c.name}/${c.slot}`, columns: CHECKS, empty: "no check is configured", head: ["state", "check", "says", "took", "when"] },
  { id: "starts", title: "Starts", hint: "slowest steps first", list: (s) => [...s.startups].reverse().slice(0, 10), key: (u) => `${u.pid}/${u.at}`, columns: STARTS, empty: "no start was recorded", head: ["at", "slot", "ready after", "slowest steps"] },
  { id: "signals", title: "Signals really seen", list: (s) => s.signals, key: (g) => `${g.kind}/${g.name}`, columns: SIGNALS, empty: "nothing was received yet", head: ["kind", "name", "count", "last", "state"] },
];
function buildSections() {
  for (const section of SECTIONS) {
    const left = section.columns.map(([name]) => name);
    $(section.id).replaceChildren(
      h("div", { class: "bar" }, h("h2", {}, section.title), h("span", { class: "hint" }, section.hint ?? ""), h("span", { class: "grow" }), h("span", { class: "hint count" })),
      h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ...section.head.map((title, i) => h("th", { class: left[i].replace("wrap", ""), scope: "col" }, title)))), h("tbody"))),
      h("div", { class: "empty", hidden: true }, section.empty));
    screenWatch.observe($(section.id));
  }
}
function drawSections(s) {
  for (const section of SECTIONS) {
    const box = $(section.id);
    if (section.optional) box.hidden = !section.list(s).length;
    if (!onScreen.has(section.id)) continue;
    const rows = section.list(s), empty = box.querySelector(".empty");
    table(box.querySelector("tbody"), section.columns, rows, section.key, section.open);
    empty.hidden = rows.length > 0; box.querySelector(".scroll").hidden = rows.length === 0;
    text(box.querySelector(".count"), rows.length ? `${rows.length}` : "");
  }
  const o = s.overhead;
  text($("overhead"), `roadworthy itself: agent ${show(o.agent_cpu_percent, "percent")} of a core, ${show(o.agent_rss, "bytes")} · keeper ${show(o.keeper_cpu_percent, "percent")}, ${show(o.keeper_rss, "bytes")} · arena ${show(o.arena_bytes, "bytes")} · ${show(o.series, "count")} series · tick ${show(o.tick_seconds, "seconds")}`);
  text($("missed"), [o.events_missed ? `${o.events_missed} events were overwritten before they were read` : "", o.series_overflowed ? `${o.series_overflowed} series over the limit` : "", o.internal_errors ? `${o.internal_errors} internal errors (your program is fine)` : ""].filter(Boolean).join(" · "));
}
