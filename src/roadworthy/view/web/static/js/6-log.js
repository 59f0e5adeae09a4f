// The log tail: at most 500 lines stay in the page; pausing stops drawing, not receiving.
const log = { lines: [], paused: false, level: "debug", find: "", unread: 0, last: 0 };
const LEVELS = ["debug", "info", "warning", "error", "critical"];
const passes = (e) => LEVELS.indexOf(e.level) >= LEVELS.indexOf(log.level) && (!log.find || `${e.source} ${e.text}`.toLowerCase().includes(log.find));
const lineOf = (e) => h("div", { class: e.level, title: Object.entries(e.fields ?? {}).map(([k, v]) => `${k}=${v}`).join("\n") }, h("span", {}, clock(e.at)), h("span", {}, e.level), h("span", {}, known(e.slot) ? `${e.slot} · ${e.source || e.kind}` : e.source || e.kind), h("span", {}, e.text));
function addEvents(events) {
  const fresh = events.filter((e) => !known(e.id) || e.id > log.last);
  if (!fresh.length) return;
  for (const e of fresh) if (known(e.id)) log.last = Math.max(log.last, e.id);
  log.lines.push(...fresh);
  if (log.lines.length > 500) log.lines.splice(0, log.lines.length - 500);
  if (log.paused) { log.unread += fresh.length; text($("pause"), `Resume (${log.unread})`); return; }
  const box = $("log"), stay = box.scrollTop + box.clientHeight >= box.scrollHeight - 30;
  box.append(...fresh.filter(passes).slice(-500).map(lineOf));
  while (box.children.length > 500) box.firstElementChild.remove();
  $("log-empty").hidden = box.children.length > 0;
  if (stay) box.scrollTop = box.scrollHeight;
}
function redrawLog() { const box = $("log"); box.replaceChildren(...log.lines.filter(passes).map(lineOf)); $("log-empty").hidden = box.children.length > 0; box.scrollTop = box.scrollHeight; }
$("pause").addEventListener("click", (event) => { log.paused = !log.paused; log.unread = 0; event.target.setAttribute("aria-pressed", String(log.paused)); text(event.target, log.paused ? "Resume" : "Pause"); if (!log.paused) redrawLog(); });
$("log-level").addEventListener("change", (event) => { log.level = event.target.value; redrawLog(); });
$("log-find").addEventListener("input", (event) => { log.find = event.target.value.toLowerCase(); redrawLog(); });
