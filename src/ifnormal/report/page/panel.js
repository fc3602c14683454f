// One counterfactual: before and after under a divider, the traversal, and what is known of it.
function showPicture(picture, source, alt) {
  [picture.width, picture.height] = index.size;
  picture.classList.toggle("pixelated", index.pixelated);
  picture.alt = alt;
  picture.onerror = () => picture.closest("figure").classList.add("missing");
  picture.src = source;
}

function follow(input, show) {
  input.addEventListener("input", show);
  show();
}

// What lies left of the divider is the anomaly, right of it the edit.
function makeWipe(panel, letter) {
  const wipe = panel.querySelector(".wipe");
  const before = panel.querySelector("img.before");
  const divider = panel.querySelector(".divider");
  const grip = panel.querySelector(".grip");
  wipe.setAttribute("aria-label", `Wipe from the edit to the anomaly${letter}`);
  follow(wipe, () => {
    before.style.clipPath = `inset(0 ${100 - wipe.value}% 0 0)`;
    divider.style.left = `${wipe.value}%`;
    grip.style.left = `clamp(.9rem, ${wipe.value}%, 100% - .9rem)`;
    wipe.setAttribute("aria-valuetext", `${wipe.value} % anomaly, ${100 - wipe.value} % edit`);
  });
}

// The last position is the counterfactual itself, or for a refined one what it was refined from,
// with the counterfactual behind it.
function makeStops(edit) {
  const stops = edit.scores.map((score, frame) => ({
    frame,
    score,
    calibrated: edit.calibratedScores[frame],
    label: `α ${index.targets[frame].toFixed(2)}`,
  }));
  const end = { frame: null, score: edit.score, calibrated: edit.calibrated, valid: edit.valid };
  if (stops.length === 0) return [end];
  const last = stops[stops.length - 1];
  if (edit.refined) return [...stops, { ...end, label: "refined" }];
  return [...stops.slice(0, -1), { ...end, label: last.label }];
}

function showStop(panel, stop, isLast, frames) {
  const valid = (stop.valid ?? isAccepted(stop.calibrated)) ? "yes" : "no";
  const frame = panel.querySelector("img.frame");
  frame.hidden = stop.frame === null;
  if (stop.frame !== null) frame.style.objectPosition = `${(100 * stop.frame) / (frames - 1)}% 0`;
  panel.dataset.valid = valid;
  panel.querySelector(".outcome").dataset.valid = valid;
  panel.querySelector(".outcome .mark").textContent = valid === "yes" ? "✓" : "✕";
  panel.querySelector(".outcome .word").textContent =
    valid === "yes" ? "accepted" : isLast ? "still flagged" : "flagged";
  panel.querySelector(".now").textContent = writeScore(stop.score);
  panel.querySelector(".scale .after").setAttribute("cx", `${100 * stop.calibrated}%`);
  // The difference, the judge and the concept classifier are of the counterfactual.
  panel.classList.toggle("moving", !isLast);
}

function makeAlpha(panel, edit, letter) {
  const stops = makeStops(edit);
  const frames = edit.scores.length;
  showStop(panel, stops[stops.length - 1], true, frames);
  if (!edit.traversal) return;
  showPicture(panel.querySelector("img.frame"), edit.traversal, "");
  const box = panel.querySelector(".alpha");
  const [label, output, slider] = box.children;
  box.hidden = false;
  slider.id = `alpha-${edit.concept}`;
  slider.max = stops.length - 1;
  slider.value = stops.length - 1;
  label.htmlFor = slider.id;
  label.textContent = "From anomalous to normal";
  slider.setAttribute("aria-label", `From anomalous to normal${letter}`);
  follow(slider, () => {
    const stop = stops[slider.value];
    showStop(panel, stop, Number(slider.value) === stops.length - 1, frames);
    output.textContent = stop.label;
    slider.setAttribute("aria-valuetext", `${stop.label}, score ${writeScore(stop.score)}`);
  });
}

function addWords(place, words, valid) {
  const line = document.createElement("span");
  line.textContent = words;
  if (valid !== undefined) line.dataset.valid = valid ? "yes" : "no";
  place.append(line);
}

function describeOpinions(panel, edit) {
  if (!edit.second) return;
  const [badge, asked] = [panel.querySelector(".badge"), panel.querySelector(".asked")];
  badge.hidden = asked.hidden = false;
  badge.querySelector(".second").dataset.second = edit.second.kind;
  badge.querySelector(".mark").textContent = edit.second.marks;
  badge.querySelector(".words").textContent = edit.second.words;
  for (const { name, before, after, threshold, accepts } of edit.second.detectors) {
    const scores = `${before ? `${before} → ` : ""}${after} (threshold ${threshold})`;
    addWords(asked, `${accepts ? "✓" : "✕"} ${name} ${scores}`, accepts);
  }
}

function describe(panel, edit) {
  const words = panel.querySelector(".others");
  if (edit.refined) {
    const { why, scoreBefore, validBefore, squaredChange: [was, is] } = edit.refined;
    const outcome = validBefore === null ? "" : validBefore ? ", accepted" : ", still flagged";
    const from = scoreBefore === null ? "" : ` from a score of ${writeScore(scoreBefore)}${outcome}`;
    const change = was === null || is === null ? "" : `; squared change ${Number(was.toPrecision(3))} → ${Number(is.toPrecision(3))}`;
    addWords(words, `Refined${from}${why ? `: ${why}` : ""}${change}`);
  }
  if (edit.judge) {
    const sees = edit.judge.sees ? `, sees “${edit.judge.sees}”` : "";
    addWords(words, `Judge: ${edit.judge.normal ? "✓ normal" : "✕ not normal"}${sees}`, edit.judge.normal);
  }
  const list = panel.querySelector(".confidences");
  if (index.concepts.length < 2 || edit.probabilities.length === 0) return;
  list.hidden = false;
  edit.probabilities.forEach((share, concept) => {
    const row = document.createElement("div");
    const [term, value, bar] = ["dt", "dd", "dd"].map((tag) => document.createElement(tag));
    term.textContent = `Taken for ${index.concepts[concept]}`;
    value.textContent = percent(share);
    bar.className = "bar-of";
    bar.setAttribute("aria-hidden", "true");
    const filled = document.createElement("span");
    filled.style.width = `${100 * share}%`;
    bar.append(filled);
    row.append(term, bar, value);
    row.classList.toggle("own", concept === edit.concept);
    list.append(row);
  });
}

function showDifference(panel, detail, edit, about) {
  const figure = panel.querySelector("figure.difference");
  const picture = figure.querySelector("img");
  if (edit.difference) {
    showPicture(picture, edit.difference, `What changed: ${about}`);
    return;
  }
  // Pictures beside the page: the browser itself subtracts one from the other.
  const other = picture.cloneNode();
  figure.querySelector(".window").append(other);
  figure.classList.add("subtracted");
  figure.querySelector("figcaption").textContent = "Difference (bright where changed)";
  showPicture(picture, detail.image, `What changed: ${about}`);
  showPicture(other, edit.image, "");
}

function makePanel(image, detail, edit) {
  const panel = byId("panel-template").content.cloneNode(true).firstElementChild;
  const several = index.concepts.length > 1;
  const letter = several ? `, concept ${index.concepts[edit.concept]}` : "";
  const about = `counterfactual of image ${image.n}${letter}`;
  panel.querySelector("h3").textContent = several ? `Concept ${index.concepts[edit.concept]}` : "Counterfactual";
  panel.querySelector(".was").textContent = writeScore(image.score);
  const threshold = panel.querySelector(".scale .threshold");
  for (const end of ["x1", "x2"]) threshold.setAttribute(end, `${100 * index.calibratedThreshold}%`);
  panel.querySelector(".scale .before").setAttribute("cx", `${100 * image.calibrated}%`);
  showPicture(panel.querySelector("img.after"), edit.image, about);
  showPicture(panel.querySelector("img.before"), detail.image, "");
  showDifference(panel, detail, edit, about);
  describe(panel, edit);
  describeOpinions(panel, edit);
  makeWipe(panel, letter);
  makeAlpha(panel, edit, letter);
  return panel;
}
