// What could be measured better, below the operations that it is about. It changes slowly: asked once a minute, and only
// while the operations are looked at.
async function loadHints() {
  if (document.hidden || !view || !onScreen.has("operations")) return;
  const answer = await fetch("/api/performance/overview", { headers: headers() }).catch(() => null);
  if (!answer?.ok) return;
  const found = (await answer.json()).hints ?? [], box = $("operations"), stamp = JSON.stringify(found);
  let list = box.querySelector(".hints");
  if (!list) box.append((list = h("div", { class: "hints" })));
  if (list.stamp === stamp) return;
  list.stamp = stamp;
  list.replaceChildren(...(found.length ? [h("h3", {}, "Measuring better")] : []), ...found.map((one) => h("div", {}, h("b", {}, one.operation), ` ${one.hint}`)));
}
setTimeout(loadHints, 3000);
setInterval(loadHints, 60000);
