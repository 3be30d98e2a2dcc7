// Every table can be saved as CSV; those with a search field can be searched and ordered. Without
// this script they are read as they stand.
(function () {
  const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

  // A number as a program reads it: "−1.2 · 10⁻³" is -1.2e-3; other texts stay as they are.
  function plain(text) {
    const words = text.trim().replace(/\s+/g, " ");
    const parts = /^(−?)([\d.]+)(?: · 10(⁻?)([⁰¹²³⁴⁵⁶⁷⁸⁹]+))?$/.exec(words);
    if (parts === null) {
      return words;
    }
    const power = Array.from(parts[4] || "", digit => SUPERSCRIPTS.indexOf(digit)).join("");
    return (parts[1] && "-") + parts[2] + (power && "e" + (parts[3] && "-") + power);
  }

  function textOf(cell) {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll("br").forEach(line => line.replaceWith(" "));
    return plain(copy.textContent);
  }

  // One name for each column: a heading over several of them stands before each of their own.
  function headings(table) {
    const names = [];
    const open = [];
    Array.from(table.tHead.rows).forEach((row, level) => {
      let column = 0;
      for (const cell of row.cells) {
        while ((open[column] || 0) > level) {
          column += 1;
        }
        for (let i = 0; i < cell.colSpan; i += 1, column += 1) {
          names[column] = ((names[column] || "") + " " + textOf(cell)).trim();
          open[column] = level + cell.rowSpan;
        }
      }
    });
    return names;
  }

  function csvOf(table) {
    const rows = Array.from(table.tBodies[0].rows).filter(row => !row.hidden);
    const lines = [headings(table), ...rows.map(row => Array.from(row.cells, textOf))];
    const quoted = field => (/[",\n\r]/.test(field) ? '"' + field.replaceAll('"', '""') + '"' : field);
    return lines.map(line => line.map(quoted).join(",") + "\r\n").join("");
  }

  function nameOf(table) {
    const section = table.closest("section");
    const number = Array.from(section.querySelectorAll("table")).indexOf(table);
    return section.getAttribute("aria-labelledby") + (number ? "-" + (number + 1) : "") + ".csv";
  }

  function save(table) {
    const url = URL.createObjectURL(new Blob(["\ufeff", csvOf(table)], { type: "text/csv" }));
    const link = Object.assign(document.createElement("a"), { href: url, download: nameOf(table) });
    link.click();
    URL.revokeObjectURL(url);
  }

  document.querySelectorAll("table").forEach(table => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "csv";
    button.textContent = "Save as CSV";
    button.addEventListener("click", () => save(table));
    table.closest(".scroll").before(button);
  });

  function key(row, column) {
    const cell = row.cells[column];
    if (cell.hasAttribute("data-none")) {
      return null;
    }
    return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent.toLowerCase();
  }

  function order(body, heads, column) {
    const ascending = heads[column].getAttribute("aria-sort") !== "ascending";
    const keyed = Array.from(body.rows, row => [key(row, column), row]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) {
        return (a === null) - (b === null);
      }
      const before = typeof a === "number" ? a - b : a.localeCompare(b);
      return ascending ? before : -before;
    });
    heads.forEach(head => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", ascending ? "ascending" : "descending");
    body.append(...keyed.map(([, row]) => row));
  }

  document.querySelectorAll(".ranked").forEach(box => {
    const table = box.querySelector("table");
    const body = table.tBodies[0];
    const heads = Array.from(table.querySelectorAll("thead th"));
    const search = box.querySelector("input");
    const output = box.querySelector("output");

    function filter() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let seen = 0;
      for (const row of body.rows) {
        const text = row.querySelector("td.long").textContent.toLowerCase();
        row.hidden = !words.every(word => text.includes(word));
        seen += !row.hidden;
      }
      output.textContent = seen + " of " + body.rows.length + " " + table.dataset.noun;
    }

    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => order(body, heads, column));
      head.append(button);
    });
    search.addEventListener("input", filter);
    box.querySelector(".control").hidden = false;
    filter();
  });
})();
