// Reads out the points of the figures, and shows one text or edit in all of them. Every value stands
// in the page; of an eigenvalue this script computes what either step does to it.
(function () {
  const REACH = 14; // CSS pixels from the pointer to a point that is read
  const page = document.documentElement;
  const bar = document.getElementById("picked");
  const rowOf = new Map(
    Array.from(document.querySelectorAll("tr[data-who]"), row => [row.dataset.who, row]));
  let picked = "";

  const nameOf = who => (who[0] === "p" ? "Edit " : "Text ") + who.slice(1);
  const textOf = who => (rowOf.has(who) ? rowOf.get(who).querySelector("td.long").textContent : "");
  const short = value => String(Number(value.toPrecision(3))).replace("-", "−");

  function complex(re, im) {
    return short(re) + (im < 0 ? " − " : " + ") + short(Math.abs(im)) + "i";
  }

  // What is read of a point of the complex plane; eigenvalues λ move with h, secants hζ do not.
  function planeWords(figure, group, x, y) {
    const h = Number(figure.dataset.h);
    const scale = group.dataset.plane === "λ" ? h : 1;
    const [re, im] = [scale * x, scale * y];
    const start = scale === h && group.dataset.plane === "λ" ? "λ = " + complex(x, y) + ", " : "";
    return start + "z = " + complex(re, im) + "; explicit |1 + z| = "
      + short(Math.hypot(1 + re, im)) + ", implicit 1/|1 − z| = " + short(1 / Math.hypot(1 - re, im));
  }

  // The points of a row: where they are in its own coordinates, and what is said of each.
  function pointsOf(figure, path) {
    const group = path.parentNode;
    const d = group.dataset.points || path.getAttribute("d");
    const numbers = (d.replaceAll("h0", "").match(/-?[\d.]+/g) || []).map(Number);
    const spots = [];
    for (let i = 0; i < numbers.length; i += 2) {
      spots.push([numbers[i], numbers[i + 1]]);
    }
    if (group.dataset.plane) {
      return spots.map(([x, y]) => ({
        path, x, y, place: figure.dataset.place, words: () => planeWords(figure, group, x, y) }));
    }
    const places = group.dataset.places.split("|");
    const points = [];
    path.dataset.values.split("|").forEach((value, i) => {
      if (value === "") {
        return;
      }
      const [x, y] = group.dataset.points ? spots[i] : spots[points.length];
      points.push({ path, x, y, place: places[i], words: () => value });
    });
    return points;
  }

  function follow(figure) {
    const marks = figure.querySelector("svg.marks");
    const rows = Array.from(marks.querySelectorAll("[data-name] > path"));
    const points = rows.map(path => pointsOf(figure, path));
    const tip = Object.assign(document.createElement("p"), { className: "tip", hidden: true });
    tip.setAttribute("role", "status");
    const ring = document.createElementNS(marks.namespaceURI, "circle");
    ring.setAttribute("class", "ring");
    const without = Object.assign(
      document.createElement("p"), { className: "without", hidden: true });
    figure.append(tip, without);
    let read = null; // the row and the place in it of the point that is read
    let before = null; // the same when the pointer went down

    const isShown = path => path.getClientRects().length > 0 || path.parentNode.dataset.points;
    const isOpen = path => !picked || !path.dataset.who || path.dataset.who === picked
      || figure.classList.contains("lacks");

    function nearest(event) {
      let best = null;
      let least = REACH;
      rows.forEach((path, row) => {
        if (!isOpen(path) || !isShown(path)) {
          return;
        }
        const matrix = path.getScreenCTM();
        const scale = Math.hypot(matrix.a, matrix.b);
        const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
        points[row].forEach((point, i) => {
          // of equally near ones the picked text, else the first: a median stands before its texts
          const bonus = path.classList.contains("on") ? 1 : 0;
          const distance = scale * Math.hypot(point.x - at.x, point.y - at.y) - bonus;
          if (distance < least - 1e-6) {
            [best, least] = [[row, i], distance];
          }
        });
      });
      return best;
    }

    function show(place) {
      read = place;
      tip.hidden = place === null;
      if (place === null) {
        ring.remove();
        return;
      }
      const point = points[place[0]][place[1]];
      const who = point.path.dataset.who;
      const about = who ? nameOf(who) : (point.path.parentNode.dataset.of || "Median");
      tip.textContent = about + ", " + point.place + ": " + point.path.parentNode.dataset.name + " "
        + point.words() + (who && textOf(who) ? ". “" + textOf(who) + "”" : "");
      tip.textContent = tip.textContent.replaceAll(" %", "\u00a0%");
      const at = new DOMPoint(point.x, point.y).matrixTransform(point.path.getScreenCTM());
      const inside = at.matrixTransform(marks.getScreenCTM().inverse());
      ring.setAttribute("cx", inside.x);
      ring.setAttribute("cy", inside.y);
      ring.setAttribute("r", 5 / marks.getScreenCTM().a);
      marks.append(ring);
      const box = figure.getBoundingClientRect();
      const left = Math.min(Math.max(at.x - box.left + 12, 0), box.width - tip.offsetWidth);
      const below = at.y - box.top + 14;
      const fits = at.y + 14 + tip.offsetHeight < window.innerHeight;
      tip.style.left = Math.max(left, 0) + "px";
      tip.style.top = (fits ? below : at.y - box.top - 14 - tip.offsetHeight) + "px";
    }

    // The next row with a point, in this direction; rows of other texts are passed over.
    function otherRow(step) {
      const [from, place] = read;
      for (let row = from + step; row >= 0 && row < rows.length; row += step) {
        if (points[row].length && isOpen(rows[row]) && isShown(rows[row])) {
          return [row, Math.min(place, points[row].length - 1)];
        }
      }
      return read;
    }

    function first() {
      const row = rows.findIndex(
        (path, i) => points[i].length && isOpen(path) && isShown(path));
      return row < 0 ? null : [row, 0];
    }

    const keys = {
      ArrowRight: () => [read[0], Math.min(read[1] + 1, points[read[0]].length - 1)],
      ArrowLeft: () => [read[0], Math.max(read[1] - 1, 0)],
      ArrowDown: () => otherRow(1),
      ArrowUp: () => otherRow(-1),
      Home: () => [read[0], 0],
      End: () => [read[0], points[read[0]].length - 1],
    };

    function pickRead() {
      const who = read && rows[read[0]].dataset.who;
      if (who) {
        pick(who === picked ? "" : who);
      }
    }

    marks.removeAttribute("aria-hidden");
    marks.setAttribute("tabindex", "0");
    marks.setAttribute("role", "application");
    marks.setAttribute("aria-label", "Points: arrow keys read them, Enter picks their text"
      + (figure.dataset.place ? " (" + figure.dataset.place + ")" : ""));
    marks.addEventListener("pointermove", event => {
      if (event.pointerType !== "touch") {
        show(nearest(event));
      }
    });
    marks.addEventListener("pointerleave", event => {
      if (event.pointerType !== "touch") {
        show(null);
      }
    });
    marks.addEventListener("pointerdown", () => {
      before = read;
    });
    marks.addEventListener("click", event => {
      const place = nearest(event);
      const isSecond = place && before && place[0] === before[0] && place[1] === before[1];
      show(place);
      // a finger reads a point first, and picks it when it comes again
      if (isSecond) {
        pickRead();
      }
    });
    marks.addEventListener("focus", () => {
      if (read === null && marks.matches(":focus-visible")) {
        show(first());
      }
    });
    marks.addEventListener("blur", () => show(null));
    marks.addEventListener("keydown", event => {
      if (event.key in keys) {
        event.preventDefault();
        show(read === null ? first() : keys[event.key]());
      } else if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        pickRead();
      } else if (event.key === "Escape") {
        show(null);
        pick("");
      }
    });
    figure.addEventListener("moved", () => show(null));

    return function () {
      rows.forEach(path => path.classList.toggle("on", picked !== "" && path.dataset.who === picked));
      const lacks = picked !== "" && !rows.some(path => path.classList.contains("on"));
      figure.classList.toggle("lacks", lacks);
      without.hidden = !lacks;
      without.textContent = lacks
        ? "This figure has no point of " + nameOf(picked).toLowerCase() + "." : "";
    };
  }

  const figures = Array.from(document.querySelectorAll(".readable"), follow);

  function pick(who) {
    picked = who;
    page.classList.toggle("picked", who !== "");
    rowOf.forEach((row, each) => {
      row.classList.toggle("on", each === who);
      row.querySelector("button").setAttribute("aria-pressed", String(each === who));
    });
    bar.hidden = who === "";
    bar.querySelector("strong").textContent = who && nameOf(who) + ":";
    bar.querySelector("span").textContent = textOf(who);
    figures.forEach(update => update());
  }

  // The neighbours of the picked row among those that the search left, in the order of its table.
  function step(by) {
    const rows = Array.from(rowOf.get(picked).parentNode.rows).filter(row => !row.hidden);
    const place = rows.indexOf(rowOf.get(picked));
    const next = rows[(place + by + rows.length) % rows.length];
    if (next) {
      pick(next.dataset.who);
    }
  }

  rowOf.forEach((row, who) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...row.cells[0].childNodes);
    button.setAttribute("aria-label", "Show " + nameOf(who).toLowerCase() + " in every figure");
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => pick(who === picked ? "" : who));
    row.cells[0].append(button);
  });
  bar.querySelectorAll("button").forEach(button => {
    const by = Number(button.dataset.step);
    button.addEventListener("click", () => (by ? step(by) : pick("")));
  });
  document.addEventListener("keydown", event => {
    if (event.key === "Escape") {
      pick("");
    }
  });
  // browsers that know no ::details-content
  window.addEventListener("beforeprint", () => {
    document.querySelectorAll(".answers details").forEach(each => {
      each.open = true;
    });
  });
  const how = document.getElementById("how");
  if (figures.length) {
    how.hidden = false;
  }
})();
