"use strict";
// Sorting: a button in each heading; what has no number comes last, whichever way.
function sortBy(button) {
  const heading = button.closest("th");
  const table = heading.closest("table");
  const body = table.tBodies[0];
  const place = heading.cellIndex;
  const numeric = heading.classList.contains("number");
  const rising = heading.getAttribute("aria-sort") !== "ascending";
  const valueOf = (row) => {
    const cell = row.cells[place];
    return numeric ? (cell.dataset.value === undefined ? null : Number(cell.dataset.value)) : cell.textContent;
  };
  const compared = (one, other) => {
    const a = valueOf(one), b = valueOf(other);
    if (a === null || b === null) return (a === null) - (b === null);
    const order = numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
    return rising ? order : -order;
  };
  body.append(...Array.from(body.rows).sort(compared));
  for (const each of table.tHead.rows[0].cells) each.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
  document.getElementById("said").textContent =
    `Sorted by ${button.textContent}, ${rising ? "ascending" : "descending"}.`;
}

// Tooltips: by pointer and by focus alike; Escape takes one away, and the pointer may move onto it.
const tip = document.getElementById("tip");
let shownFor = null;
let leaving = 0;
function showTip(mark) {
  clearTimeout(leaving);
  shownFor = mark;
  tip.textContent = mark.dataset.tip;
  tip.hidden = false;
  const box = mark.getBoundingClientRect();
  const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
  const left = Math.max(8, Math.min(box.left + box.width / 2 - tip.offsetWidth / 2, room));
  const above = box.top - tip.offsetHeight - 6;
  tip.style.left = `${left + window.scrollX}px`;
  tip.style.top = `${(above > 0 ? above : box.bottom + 6) + window.scrollY}px`;
}
function hideTip() {
  clearTimeout(leaving);
  tip.hidden = true;
  shownFor = null;
}
function leaveTip() {
  clearTimeout(leaving);
  leaving = setTimeout(hideTip, 150);
}
tip.addEventListener("pointerenter", () => clearTimeout(leaving));
tip.addEventListener("pointerleave", leaveTip);

// Of a drawing's marks Tab reaches one; arrow keys lead to the others, so that a drawing is one stop.
function walk(mark, key) {
  const marks = Array.from(mark.closest("svg").querySelectorAll(".mark"));
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  const ends = { Home: 0, End: marks.length - 1 };
  const place = key in ends ? ends[key] : marks.indexOf(mark) + steps[key];
  const next = marks[Math.max(0, Math.min(marks.length - 1, place))];
  mark.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("thead button");
  if (button) sortBy(button);
});
for (const mark of document.querySelectorAll("[data-tip]")) {
  mark.addEventListener("pointerenter", () => showTip(mark));
  mark.addEventListener("pointerleave", leaveTip);
  mark.addEventListener("focus", () => showTip(mark));
  mark.addEventListener("blur", hideTip);
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && shownFor) hideTip();
  const mark = event.target.closest ? event.target.closest(".mark") : null;
  if (mark && ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "Home", "End"].includes(event.key)) {
    event.preventDefault();
    walk(mark, event.key);
  }
});
