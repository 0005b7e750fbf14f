"use strict";
// Tables: a click on a column's title sorts by it, a second one the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, k) => { const c = row.cells[k], s = c.dataset.sort; return s === undefined ? c.textContent.trim() : s; };
  heads.forEach((head, k) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    heads.forEach(h => h.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
    const number = s => s.trim() === "" ? NaN : s === "inf" ? Infinity : s === "-inf" ? -Infinity : Number(s);
    const rows = [...body.rows].map(row => [value(row, k), row]);
    rows.sort(([a], [b]) => { const x = number(a), y = number(b);
      return down * (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, document.documentElement.lang, { numeric: true }) : x === y ? 0 : x - y); });
    body.append(...rows.map(([, row]) => row));
  }));
}
// What is folded is printed too.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(d => { d.open = true; }));
// A gallery: only the runs whose text has the words.
const search = document.querySelector("#search");
if (search) search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\s+/);
  for (const card of document.querySelectorAll(".cards > li")) card.hidden = !words.every(w => card.textContent.toLowerCase().includes(w));
});
