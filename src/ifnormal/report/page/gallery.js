// Thumbnails, one page at a time: a browser then handles thousands as easily as a few.
const PAGE_SIZE = 60;
const MARKED = 4;
const tiles = byId("tiles");
let matching = [];
let page = 0;

function outcomeWords(image) {
  const accepted = image.valid.filter(Boolean).length;
  if (image.valid.length === 0) return "not explained";
  if (image.valid.length === 1) return accepted ? "edit accepted" : "edit still flagged";
  return `${accepted} of ${image.valid.length} edits accepted`;
}

function markOutcomes(place, image) {
  if (image.valid.length > MARKED) {
    place.textContent = `${image.valid.filter(Boolean).length}/${image.valid.length}`;
    return;
  }
  for (const valid of image.valid) {
    const mark = document.createElement("span");
    mark.className = "mark";
    mark.dataset.valid = valid ? "yes" : "no";
    mark.textContent = valid ? "✓" : "✕";
    place.append(mark);
  }
}

// How many independent detectors accept each edit; of many edits, how many all of them accept.
function markOpinions(place, image) {
  const known = image.second.filter((accepting) => accepting !== null);
  place.hidden = known.length === 0;
  if (known.length > MARKED) {
    const agreed = known.filter((accepting) => accepting === index.asked).length;
    place.textContent = `${agreed}/${known.length} by all others`;
    return;
  }
  for (const accepting of known) {
    const mark = document.createElement("span");
    mark.className = "mark";
    if (accepting === index.asked) mark.dataset.valid = "yes";
    if (accepting === 0) mark.dataset.valid = "no";
    mark.textContent = `${accepting}/${index.asked}`;
    place.append(mark, " ");
  }
  place.append("others");
}

function makeTile(image) {
  const template = byId(image.thumb ? "tile-template" : "plain-tile-template");
  const item = template.content.cloneNode(true).firstElementChild;
  const tile = item.firstElementChild;
  tile.dataset.number = image.n;
  tile.title = image.name;
  item.querySelector(".score").textContent = writeScore(image.score);
  item.querySelector(".name").textContent = image.name.split("/").pop() || image.name;
  if (!image.thumb) return item;
  const picture = item.querySelector("img");
  [picture.width, picture.height] = index.size;
  picture.classList.toggle("pixelated", index.pixelated);
  picture.src = image.thumb;
  markOutcomes(item.querySelector(".marks"), image);
  const second = item.querySelector(".others");
  markOpinions(second, image);
  const opinion = second.hidden ? "" : `, accepted by independent detectors: ${second.textContent}`;
  const flagged = image.outcome === "unflagged" ? "not flagged" : "flagged";
  tile.setAttribute("aria-label",
    `Image ${image.n}, ${image.name}, ${flagged}, score ${writeScore(image.score)}, ${outcomeWords(image)}${opinion}`);
  tile.addEventListener("click", () => openDetail(image.n));
  return item;
}

function showPage(number) {
  const pages = Math.max(1, Math.ceil(matching.length / PAGE_SIZE));
  page = Math.min(Math.max(number, 0), pages - 1);
  const first = page * PAGE_SIZE;
  tiles.replaceChildren(...matching.slice(first, first + PAGE_SIZE).map(makeTile));
  byId("pager").hidden = pages === 1;
  byId("page-number").textContent = `Page ${page + 1} of ${pages}`;
  byId("page-previous").disabled = page === 0;
  byId("page-next").disabled = page === pages - 1;
}

function turnPage(by) {
  const before = page;
  showPage(page + by);
  if (page === before) return;
  byId("count").scrollIntoView({ block: "start" });
  tiles.querySelector("button")?.focus({ preventScroll: true });
}

function showGallery() {
  matching = matchingImages();
  const count = matching.length.toLocaleString("en");
  const total = index.images.length.toLocaleString("en");
  byId("count").textContent = index.images.length === 0 ? "No images."
    : matching.length === 0 ? "No image matches. Clear the filters to see all."
      : `${count} of ${total} ${index.images.length === 1 ? "image" : "images"}`;
  byId("clear").hidden = !isFiltered();
  showPage(0);
}

// Arrow keys move between thumbnails, up and down by a row of what is on the screen now.
function moveFocus(event) {
  const all = [...tiles.querySelectorAll("button")];
  const at = all.indexOf(document.activeElement);
  if (at < 0) return;
  const top = all[0].getBoundingClientRect().top;
  const row = Math.max(1, all.filter((tile) => Math.abs(tile.getBoundingClientRect().top - top) < 2).length);
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -row, ArrowDown: row };
  if (event.key in steps) {
    event.preventDefault();
    all[at + steps[event.key]]?.focus();
  } else if (event.key === "PageUp" || event.key === "PageDown") {
    event.preventDefault();
    turnPage(event.key === "PageDown" ? 1 : -1);
  }
}

for (const input of Object.values(filters)) {
  input.addEventListener(input.matches("select") ? "change" : "input", showGallery);
}
byId("clear").addEventListener("click", () => {
  clearFilters();
  showGallery();
  filters.outcome.focus();
});
byId("page-previous").addEventListener("click", () => turnPage(-1));
byId("page-next").addEventListener("click", () => turnPage(1));
tiles.addEventListener("keydown", moveFocus);
prepareFilters();
showGallery();
