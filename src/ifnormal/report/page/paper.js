// Paper: the open image alone, or else the first anomalies, as far as the filter lets them through.
const cards = [...document.querySelectorAll("#cards .card")];
const note = byId("print-note");
const unfiltered = note?.textContent;
window.addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  if (!note) return;
  const numbers = new Set(matching.map((image) => image.n));
  for (const card of cards) card.hidden = isFiltered() && !numbers.has(Number(card.dataset.number));
  const printed = cards.filter((card) => !card.hidden).length;
  note.textContent = isFiltered()
    ? `${printed} that match the filter, of the ${cards.length} most anomalous.` : unfiltered;
});
