// Sorting and filtering. Without it the page is the same tables, each group of features in turn.
"use strict";

const shown = (board) => board.dataset.show || "raw";

/** What a cell sorts by: a number, a text, or null where there is nothing. */
function key(row, column, show) {
  const cell = row.children[column];
  const given = show === "skill" && "skill" in cell.dataset ? cell.dataset.skill : cell.dataset.value;
  if (given === undefined) return (cell.dataset.text ?? cell.textContent.trim()).toLowerCase();
  return given === "" ? null : Number(given);
}

/** Sorts the rows by a column; what has nothing there comes last, and equals stay as they were.
 * Rows that different simulators answered for stay apart, since their figures do not compare. */
function sort(table, column, down, show) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [key(row, column, show), row]);
  rows.sort(([a, one], [b, other]) => {
    const apart = Number(one.dataset.block ?? 0) - Number(other.dataset.block ?? 0);
    if (apart) return apart;
    if (a === null || b === null) return (a === null) - (b === null);
    const order = a < b ? -1 : Number(a > b);
    return down ? -order : order;
  });
  body.append(...rows.map(([, row]) => row));
  for (const [place, head] of [...table.tHead.rows[0].cells].entries()) {
    if (place === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
}

function live(board) {
  const table = board.querySelector("table");
  const heads = [...table.tHead.rows[0].cells];
  const tool = (name) => board.querySelector(`[data-tool="${name}"]`);
  const firstDown = (column) => heads[column].dataset.first !== "up";
  let column = heads.findIndex((head) => head.hasAttribute("aria-sort"));
  let down = true;

  function resort() {
    if (column >= 0) sort(table, column, down, shown(board));
    if (tool("sort")) tool("sort").value = String(column);
  }

  function filter() {
    const words = tool("search").value.trim().toLowerCase();
    for (const row of table.tBodies[0].rows) {
      row.hidden =
        row.dataset.group !== tool("group").value ||
        (tool("simulator")?.value && row.dataset.simulator !== tool("simulator").value) ||
        (row.dataset.kind !== "run" && !tool(row.dataset.kind)?.checked) ||
        !row.dataset.name.toLowerCase().includes(words);
    }
  }

  for (const [place, head] of heads.entries()) {
    head.querySelector("button")?.addEventListener("click", () => {
      down = place === column ? !down : firstDown(place);
      column = place;
      resort();
    });
  }
  tool("sort")?.addEventListener("change", (event) => {
    column = Number(event.target.value);
    down = firstDown(column);
    resort();
  });
  tool("show")?.addEventListener("change", (event) => {
    board.dataset.show = event.target.value;
    resort();
  });
  if (tool("search")) {
    for (const name of ["group", "simulator", "search", "submitted", "control"]) {
      tool(name)?.addEventListener("input", filter);
    }
    filter();
  }
  const tools = board.querySelector(".tools");
  if (tools) tools.hidden = false;
  resort();
}

document.querySelectorAll("[data-board]").forEach(live);
