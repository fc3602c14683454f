// Paper: the open image alone, or the first of those that the filter lets through.
const PRINTED = 24;
const byScore = byId("cards"); // as written with the page: the most anomalous, unfiltered
const chosen = byId("chosen-cards");

function makeCard(image) {
  const detail = JSON.parse(byId(`detail-${image.n}`).textContent);
  const card = byId("card-template").content.cloneNode(true).firstElementChild;
  card.querySelector(".number").textContent = image.n;
  card.querySelector("bdi").textContent = image.name;
  showPicture(card.querySelector(".origin img"), detail.image, `Anomaly ${image.n}: ${image.name}`);
  card.querySelector(".flagged").textContent = image.outcome === "unflagged" ? "not flagged" : "flagged";
  card.querySelector(".score").textContent = writeScore(image.score);
  card.querySelector(".edits").append(...detail.edits.map((edit) => makePanel(image, detail, edit)));
  return card;
}

function fillPaper() {
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  const isPlain = !isFiltered() && filters.sort.selectedIndex === 0;
  byScore.hidden = !isPlain;
  if (isPlain || dialog.open) return;
  const found = matching.filter((image) => image.thumb);
  const note = document.createElement("p");
  note.className = "note";
  const many = Math.min(PRINTED, found.length).toLocaleString("en");
  note.textContent = `${many} of ${found.length.toLocaleString("en")} explained images that match the filter.`;
  chosen.replaceChildren(note, ...found.slice(0, PRINTED).map(makeCard));
}

window.addEventListener("beforeprint", fillPaper);
window.addEventListener("afterprint", () => chosen.replaceChildren());
