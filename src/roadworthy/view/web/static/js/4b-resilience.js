// Policies, services and features, and what people may have done to them. Buttons are there only with the token.
const REJECTED = ["breaker_open", "rate_limited", "bulkhead_full", "deadline"];
const total = (calls, names) => (names ?? Object.keys(calls)).reduce((sum, name) => sum + (calls[name] ?? 0), 0);
const lasting = (s) => span(s).replace(" ", "\u00a0");
const ahead = (at) => (known(at) && at > view.at ? lasting(at - view.at) : "");
function heldBy(x) {
  return [x.reason, x.by ? `by ${x.by}` : "", x.by && known(x.since) ? `for ${lasting(view.at - x.since)}` : "", ahead(x.until) ? `ends in ${ahead(x.until)}` : ""].filter(Boolean).join(" · ");
}
function breakerWhy(p) {
  const parts = [];
  if (p.forced) parts.push(`held ${words(p.forced)} by people`, p.forced_reason, ahead(p.forced_until) ? `ends in ${ahead(p.forced_until)}` : "");
  else if (p.breaker !== "closed") parts.push(p.reason);
  if (p.breaker && p.breaker !== "closed" && known(p.since)) parts.push(`for ${lasting(view.at - p.since)}`);
  if (known(p.retry_at)) parts.push(ahead(p.retry_at) ? `tries again in ${ahead(p.retry_at)}` : "tries again now");
  return parts.filter(Boolean).join(" · ");
}
const POLICIES = [
  ["l", (p) => p.name], ["l", (p) => (p.breaker ? { pill: p.breaker } : "no breaker")],
  ["", (p) => show(p.rate, "rate")],
  ["", (p) => (known(p.failure_rate) ? { text: show(p.failure_rate * 100, "percent"), meter: p.failure_rate * 100, bad: p.failure_rate > 0.05 } : none)],
  ["narrow", (p) => ({ text: show(total(p.calls), "count"), title: Object.entries(p.calls).map(([k, v]) => `${words(k)}: ${v}`).join("\n") })],
  ["", (p) => ({ text: show(total(p.calls, REJECTED), "count"), title: "refused before they reached the other side" })],
  ["narrow", (p) => (known(p.retries) ? { text: show(p.retries, "count"), title: `${p.retries_denied ?? 0} denied by the budget` } : none)],
  ["", (p) => (!known(p.budget_left) ? none : p.budget_most ? { text: show(Math.floor(p.budget_left), "count"), meter: (100 * p.budget_left) / p.budget_most, bad: p.budget_left < 1 } : show(Math.floor(p.budget_left), "count"))],
  ["l wrap", (p) => ({ text: breakerWhy(p), title: p.parts.map(words).join(" → ") })],
  ["l act", (p) => ({ actions: !token || !p.breaker ? [] : p.forced || p.breaker !== "closed" ? ["reset"] : ["force open"] })],
];
const SERVICES = [
  ["l", (s) => s.name], ["l", (s) => ({ pill: s.state })], ["l", (s) => (s.breaker ? { pill: s.breaker } : "")],
  ["", (s) => ({ text: s.recoveries ? `${s.recovered} of ${s.recoveries}` : none, title: "recoveries that succeeded" })],
  ["l wrap", (s) => ({ text: heldBy(s) || s.last_error, title: s.last_error })],
  ["l act", (s) => ({ actions: !token ? [] : [s.recover ? "recover" : "", "restart", s.by ? "restore" : "degrade"].filter(Boolean) })],
];
const FEATURES = [
  ["l", (f) => f.name], ["l", (f) => ({ pill: f.off === null ? "unknown" : f.off ? "off" : "on" })], ["l wrap", (f) => ({ text: f.off ? heldBy(f) : "" })],
  ["l act", (f) => ({ actions: !token ? [] : f.off ? ["switch on"] : ["switch off"] })],
];
const trouble = (one, calm) => (calm.includes(one) ? 1 : 0);
SECTIONS.push(
  { id: "policies", title: "Policies", optional: true, list: (s) => [...s.policies].sort((a, b) => trouble(a.breaker, [null, "closed"]) - trouble(b.breaker, [null, "closed"])), key: (p) => p.name, columns: POLICIES, empty: "", head: ["policy", "breaker", "rate", "failing", "calls", "refused", "retries", "retry budget", "why", ""] },
  { id: "services", title: "Services", optional: true, list: (s) => [...s.services].sort((a, b) => trouble(a.state, ["up"]) - trouble(b.state, ["up"])), key: (v) => v.name, columns: SERVICES, empty: "", head: ["service", "state", "breaker", "recovered", "why", ""] },
  { id: "features", title: "Features", optional: true, list: (s) => [...s.features].sort((a, b) => (b.off === true) - (a.off === true)), key: (f) => f.name, columns: FEATURES, empty: "", head: ["feature", "state", "why", ""] });

// word -> [path, method, question, whether a reason and a time are asked for]
const ERRORS_OF = "/api/performance/errors/services";
const ACTS = {
  "force open": (p) => [`/api/policies/${p}/force`, "POST", "Every call of this policy will be refused.", true, { state: "forced_open" }],
  "reset": (p) => [`/api/policies/${p}/reset`, "POST", "What was forced ends, and the breaker closes.", false],
  "recover": (s) => [`${ERRORS_OF}/${s}/recover`, "POST", "The program's recovery procedure for it is run.", false],
  "restart": (s, item) => [`/health/services/${s}/restart`, "POST", item.restart ? "Its workers are stopped and started again." : "All workers of the program are replaced, one after another.", false],
  "degrade": (s) => [`${ERRORS_OF}/${s}/degrade`, "POST", "It will answer with its degraded responses.", true],
  "restore": (s) => [`${ERRORS_OF}/${s}/degrade`, "DELETE", "It will work as always again.", false],
  "switch off": (f) => [`/api/features/${f}/off`, "POST", "The program goes on without it.", true],
  "switch on": (f) => [`/api/features/${f}/off`, "DELETE", "It is there again, whoever switched it off.", false],
};
const capital = (word) => word[0].toUpperCase() + word.slice(1);
function doAct(word, item) {
  const [path, method, question, more, fixed] = ACTS[word](encodeURIComponent(item.name), item);
  const reason = h("input", { type: "text", maxlength: "64", placeholder: "reason", "aria-label": "reason" });
  const time = h("select", { "aria-label": "for how long" }, ...[["", "until it is undone"], ["300", "for 5 min"], ["1800", "for 30 min"], ["7200", "for 2 h"]].map(([value, label]) => h("option", { value }, label)));
  const go = h("button", { type: "submit", class: "go" }, capital(word));
  const form = h("form", { class: "ask" }, h("p", { class: "lead" }, question), h("div", { class: "row" }, reason, ...(more ? [time] : []), go));
  const dialog = openDialog(`${capital(word)} · ${item.name}`, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true; text(go, "…");
    const query = new URLSearchParams({ ...fixed, ...(reason.value.trim() ? { reason: reason.value.trim() } : {}), ...(more && time.value ? { for: time.value } : {}) });
    const answer = await change(`${path}?${query}`, method);
    const said = answer ? await answer.json().catch(() => ({})) : {};
    dialog.close();
    toast(answer?.ok ? `${capital(said.act)} ${said.target}: ${words(said.outcome)}, ${said.detail}` : `Refused: ${said.detail ?? said.title ?? answer?.status ?? "the agent does not answer"}`);
  });
  (more ? reason : go).focus();
}
const change = (path, method) => fetch(path, { method, headers: { ...headers(), "X-Roadworthy-CSRF": document.querySelector('meta[name="csrf"]')?.content ?? "" } }).catch(() => null);
