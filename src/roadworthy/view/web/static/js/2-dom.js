// A little DOM: text only ever enters as text, and a node is written only when it changed.
const $ = (id) => document.getElementById(id);
function h(tag, attrs = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attrs)) {
    if (key === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
    else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
const text = (node, value) => { if (node.textContent !== value) node.textContent = value; };
const css = (node, value) => { if (node.className !== value) node.className = value; };
const pill = (word) => h("span", { class: `pill ${word}` }, words(word));

// Rows by key: columns are [class, cell(row) -> string or node descriptor {pill}|{meter, text}|{text, title}|{actions}].
function table(body, columns, rows, keyOf, onOpen) {
  const old = new Map([...body.children].map((row) => [row.dataset.key, row]));
  let at = body.firstElementChild;
  for (const item of rows) {
    const key = String(keyOf(item));
    let row = old.get(key);
    if (row) old.delete(key);
    else {
      row = h("tr", { "data-key": key });
      for (const [name] of columns) row.append(h("td", { class: name }));
      if (onOpen) {
        row.className = "open"; row.tabIndex = 0;
        row.addEventListener("click", () => onOpen(row.item));
        row.addEventListener("keydown", (event) => { if (event.key === "Enter") onOpen(row.item); });
      }
    }
    row.item = item;
    columns.forEach(([, cell], i) => {
      const value = cell(item), td = row.children[i], stamp = typeof value === "string" ? value : JSON.stringify(value);
      if (td.stamp === stamp) return;
      td.stamp = stamp;
      if (typeof value === "string") td.textContent = value;
      else if (value.pill) td.replaceChildren(pill(value.pill), value.text ? h("span", { class: "dim" }, ` ${value.text}`) : "");
      else if (value.actions) td.replaceChildren(...value.actions.map((word) => h("button", { type: "button", on: { click: () => doAct(word, row.item) } }, word)));
      else if (value.meter !== undefined) {
        const fill = h("i"); fill.style.width = `${Math.min(100, value.meter)}%`;
        td.replaceChildren(value.text, h("span", { class: value.bad ? "meter bad" : "meter" }, fill));
      } else { td.textContent = value.text; td.title = value.title ?? ""; }
    });
    if (row === at) at = at.nextElementSibling; else body.insertBefore(row, at);
  }
  for (const row of old.values()) row.remove();
}
function toast(message) { document.querySelector(".toast")?.remove(); const node = h("div", { class: "toast", role: "status" }, message); document.body.append(node); setTimeout(() => node.remove(), 6000); }
// Only what is on the screen is drawn; what comes into view is drawn then.
const onScreen = new Set();
let whenSeen = () => {};
const screenWatch = new IntersectionObserver((entries) => {
  let fresh = false;
  for (const entry of entries) { if (entry.isIntersecting) { fresh ||= !onScreen.has(entry.target.id); onScreen.add(entry.target.id); } else onScreen.delete(entry.target.id); }
  if (fresh) whenSeen();
}, { rootMargin: "120px" });
