// Orders and filters the rows that are there; without it the table stays ranked by g.
(function () {
  const box = document.getElementById("ranked");
  const body = box.querySelector("tbody");
  const heads = Array.from(box.querySelectorAll("thead th"));
  const search = box.querySelector("input");
  const output = box.querySelector("output");

  function key(row, column) {
    const cell = row.cells[column];
    if (cell.hasAttribute("data-none")) {
      return null;
    }
    return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent.toLowerCase();
  }

  function sort(column) {
    const ascending = heads[column].getAttribute("aria-sort") !== "ascending";
    const keyed = Array.from(body.rows, row => [key(row, column), row]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) {
        return (a === null) - (b === null);
      }
      const order = typeof a === "number" ? a - b : a.localeCompare(b);
      return ascending ? order : -order;
    });
    heads.forEach(head => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", ascending ? "ascending" : "descending");
    body.append(...keyed.map(([, row]) => row));
  }

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let seen = 0;
    for (const row of body.rows) {
      const text = row.querySelector("td.long").textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      seen += !row.hidden;
    }
    output.textContent = seen + " of " + body.rows.length + " inputs";
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(column));
    head.append(button);
  });
  search.addEventListener("input", filter);
  box.querySelector(".control").hidden = false;
  filter();
})();
