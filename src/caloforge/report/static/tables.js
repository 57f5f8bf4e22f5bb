"use strict";
// The overview is sorted by the column whose heading is clicked, the best first.
(() => {
  const table = document.getElementById("overview");
  const body = table.tBodies[0];
  const keyOf = (row, column) => {
    const key = row.cells[column + 1].dataset.key;
    return key === "inf" ? Infinity : Number(key);
  };
  for (const button of table.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const column = Number(button.dataset.column);
      const rows = [...body.querySelectorAll("tr.candidate")];
      rows.sort((one, other) => {
        const [first, second] = [keyOf(one, column), keyOf(other, column)];
        return first < second ? -1 : Number(first > second);
      });
      body.append(...rows);
      for (const heading of table.querySelectorAll("[aria-sort]")) heading.removeAttribute("aria-sort");
      button.parentElement.setAttribute("aria-sort", "ascending");
    });
  }
})();
// A box that holds more to the right than it shows says so.
(() => {
  for (const box of document.querySelectorAll(".scroll")) {
    const look = () => {
      const hidden = box.scrollWidth - box.clientWidth - box.scrollLeft;
      box.classList.toggle("more-right", hidden > 1);
    };
    box.addEventListener("scroll", look, { passive: true });
    new ResizeObserver(look).observe(box);
    if (box.firstElementChild) new ResizeObserver(look).observe(box.firstElementChild);
  }
})();
