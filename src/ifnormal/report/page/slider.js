"use strict";
// Each traversal is one image with its frames side by side. Without this script it lies open as a
// film strip; with it, a slider moves that image behind the counterfactual's window.
document.documentElement.classList.add("js");

function follow(slider) {
  const card = slider.closest(".card");
  const output = card.querySelector("output");
  const targets = slider.dataset.targets.split(" ");
  const threshold = Number(slider.dataset.threshold);
  const edits = Array.from(card.querySelectorAll(".edit"), (edit) => {
    const frame = edit.querySelector(".strip img").cloneNode();
    frame.className += " frame";
    frame.alt = "";
    frame.hidden = true;
    edit.querySelector(".pair .window").append(frame);
    return { edit, frame, steps: edit.querySelectorAll(".strip li") };
  });

  function show() {
    const step = Number(slider.value);
    const last = targets.length - 1;
    const heard = edits.map(({ edit, frame, steps }) => {
      const valid = Number(steps[step].dataset.score) <= threshold ? "yes" : "no";
      frame.hidden = false;
      frame.style.objectPosition = `${(100 * step) / last}% 0`;
      edit.dataset.valid = valid;
      edit.querySelector(".outcome").dataset.valid = valid;
      edit.querySelector(".outcome .mark").textContent = valid === "yes" ? "✓" : "✕";
      edit.querySelector(".outcome .word").textContent =
        valid === "yes" ? "accepted" : step < last ? "flagged" : "still flagged";
      edit.querySelector(".now").textContent = steps[step].textContent;
      edit.querySelector(".scale .after").setAttribute("cx", `${100 * steps[step].dataset.score}%`);
      return `concept ${edit.dataset.concept} ${steps[step].textContent}`;
    });
    // The judge and the concept classifier saw the last frame only.
    card.classList.toggle("moving", step < last);
    output.textContent = `asked for: ${targets[step]} of its score`;
    slider.setAttribute("aria-valuetext", `asked for: ${targets[step]} of its score; ${heard.join(", ")}`);
  }

  slider.setAttribute("aria-valuetext", output.textContent);
  slider.addEventListener("input", show);
  slider.closest(".slider").hidden = false;
}

document.querySelectorAll(".slider input").forEach(follow);

// Paper has no disclosure triangles.
window.addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
});
