// One anomaly in full, over the page; its link is #image- and its number.
const dialog = byId("detail");
const byNumber = new Map(index.images.map((image) => [image.n, image]));
let opened = null;

function neighbours(number) {
  const shown = matching.filter((image) => image.thumb);
  const at = shown.findIndex((image) => image.n === number);
  return { at, count: shown.length, previous: shown[at - 1], next: at < 0 ? undefined : shown[at + 1] };
}

function fillDetail(image) {
  const detail = JSON.parse(byId(`detail-${image.n}`).textContent);
  dialog.querySelector("#detail-title .number").textContent = image.n;
  dialog.querySelector("#detail-title bdi").textContent = image.name;
  for (const figure of dialog.querySelectorAll("figure")) figure.classList.remove("missing");
  showPicture(byId("detail-image"), detail.image, `Anomaly ${image.n}: ${image.name}`);
  const heatmap = byId("detail-heatmap");
  heatmap.hidden = !detail.heatmap;
  if (detail.heatmap) {
    showPicture(heatmap.querySelector(".under"), detail.image, "");
    showPicture(heatmap.querySelector(".over"), detail.heatmap, `Heatmap: ${heatmap.querySelector("figcaption").textContent} in image ${image.n}`);
  }
  byId("detail-flagged").textContent = image.outcome === "unflagged" ? "not flagged" : "flagged";
  byId("detail-score").textContent = writeScore(image.score);
  byId("panels").replaceChildren(...detail.edits.map((edit) => makePanel(image, detail, edit)));
  const { at, count, previous, next } = neighbours(image.n);
  dialog.querySelector(".position").textContent = at < 0 ? "" : `${at + 1} of ${count}`;
  byId("previous").disabled = !previous;
  byId("next").disabled = !next;
}

function openDetail(number, focus = true) {
  const image = byNumber.get(number);
  if (!image?.thumb) return false;
  if (document.readyState === "loading") { // the details follow this script in the page
    document.addEventListener("DOMContentLoaded", () => openDetail(number), { once: true });
    return true;
  }
  opened = image;
  fillDetail(image);
  const hash = `#image-${number}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  if (focus) byId("detail-title").focus();
  return true;
}

function step(by) {
  const { previous, next } = neighbours(opened.n);
  const target = by < 0 ? previous : next;
  if (target) openDetail(target.n, !document.activeElement?.matches("#previous:enabled, #next:enabled"));
}

function focusTile(number) {
  const at = matching.findIndex((image) => image.n === number);
  if (at < 0) return;
  if (Math.floor(at / PAGE_SIZE) !== page) showPage(Math.floor(at / PAGE_SIZE));
  tiles.querySelector(`[data-number="${number}"]`)?.focus();
}

function openLink() {
  const number = /^#image-(\d+)$/.exec(location.hash)?.[1];
  if (!number || openDetail(Number(number))) return;
  byId("count").textContent = `Image ${number} is not in this gallery.`;
  byId("gallery").scrollIntoView();
}

byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => {
  const { n } = opened;
  opened = null;
  history.replaceState(null, "", `${location.pathname}${location.search}`);
  focusTile(n);
});
dialog.addEventListener("keydown", (event) => {
  const isSlider = event.target.matches("input[type=range]");
  if (isSlider || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    event.preventDefault();
    step(event.key === "ArrowLeft" ? -1 : 1);
  }
});
window.addEventListener("hashchange", openLink);
openLink();
