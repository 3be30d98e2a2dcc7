// Moves the spectrum, as z = hλ, and swaps what the records hold for another h.
(function () {
  const box = document.getElementById("slider");
  if (box === null) {
    return;
  }
  const data = JSON.parse(document.getElementById("slider-data").textContent);
  const input = box.querySelector("input");
  const output = box.querySelector("output");
  function show() {
    const i = Number(input.value);
    output.textContent = input.ariaValueText = "h = " + data.labels[i];
    box.querySelectorAll("g.spectrum").forEach(group => {
      group.setAttribute("transform", "scale(" + data.steps[i] + ")");
    });
    box.querySelectorAll("path.truncated").forEach(path => {
      path.setAttribute("d", data.regions[path.dataset.solver][i]);
    });
    box.querySelectorAll("g.secants").forEach(group => {
      group.toggleAttribute("hidden", data.labels[i] !== group.dataset.h);
    });
    box.querySelectorAll("figcaption").forEach((caption, layer) => {
      caption.textContent = data.captions[layer][i];
    });
    box.querySelectorAll("figure").forEach(figure => {
      figure.dataset.h = data.steps[i];
      figure.dispatchEvent(new Event("moved"));
    });
  }
  input.addEventListener("input", show);
  box.querySelector(".control").hidden = false;
  show();
})();
