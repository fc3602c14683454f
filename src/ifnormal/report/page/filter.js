// Which images are shown, and in which order.
const filters = {
  outcome: byId("filter-outcome"),
  ...(byId("filter-second") && { second: byId("filter-second") }),
  sort: byId("sort"),
  low: byId("score-low"),
  high: byId("score-high"),
  name: byId("filter-name"),
};
const ORDERS = {
  anomalous: (a, b) => a.place - b.place,
  normal: (a, b) => b.place - a.place,
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) || a.n - b.n,
  input: (a, b) => a.n - b.n,
};

// The page lists explained images first, then the others, each by score: one order of all.
[...index.images]
  .sort((a, b) => b.calibrated - a.calibrated)
  .forEach((image, place) => { image.place = place; });

function hasOutcome(image, wanted) {
  if (wanted === "every") return true;
  return wanted === "flagged" ? image.outcome !== "unflagged" : image.outcome === wanted;
}

// What the independent detectors say of its edits; "alone": the explained detector accepts an edit
// that none of them accepts.
function hasOpinion(image, wanted) {
  if (wanted === "any") return true;
  const asked = image.second.some((accepting) => accepting !== null);
  const agreed = image.second.includes(index.asked);
  if (wanted === "all") return agreed;
  if (wanted === "not") return asked && !agreed;
  return image.second.some((accepting, edit) => accepting === 0 && image.valid[edit]);
}

function matchingImages() {
  const wanted = filters.outcome.value;
  const opinion = filters.second?.value ?? "any";
  const low = filters.low.value === "" ? -Infinity : Number(filters.low.value);
  const high = filters.high.value === "" ? Infinity : Number(filters.high.value);
  const name = filters.name.value.trim().toLocaleLowerCase();
  return index.images
    .filter((image) => hasOutcome(image, wanted) && hasOpinion(image, opinion)
      && image.score >= low && image.score <= high
      && image.name.toLocaleLowerCase().includes(name))
    .sort(ORDERS[filters.sort.value]);
}

function isFiltered() {
  return [filters.outcome, filters.second].some((choice) => choice?.selectedIndex > 0)
    || [filters.low, filters.high, filters.name].some((input) => input.value !== "");
}

function clearFilters() {
  for (const choice of [filters.outcome, filters.second]) if (choice) choice.selectedIndex = 0;
  for (const input of [filters.low, filters.high, filters.name]) input.value = "";
}

// Only choices that find something, each with how many; the first one that does is chosen.
function prepareChoice(choice, matches) {
  for (const option of [...choice.options]) {
    const count = index.images.filter((image) => matches(image, option.value)).length;
    option.textContent += ` (${count.toLocaleString("en")})`;
    if (count === 0) option.remove();
  }
  choice.selectedIndex = 0;
}

function prepareFilters() {
  prepareChoice(filters.outcome, hasOutcome);
  if (filters.second) prepareChoice(filters.second, hasOpinion);
  const scores = index.images.map((image) => image.score);
  const low = scores.reduce((a, b) => Math.min(a, b), Infinity);
  const high = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  if (scores.length) {
    filters.low.placeholder = writeScore(low);
    filters.high.placeholder = writeScore(high);
  }
}
