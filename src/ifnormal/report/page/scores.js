// Scores in the user's own units, written by the rules of score_writing.py.
function byId(id) {
  return document.getElementById(id);
}

const index = JSON.parse(byId("index").textContent);

function writeScore(value) {
  const { decimals, is_share: isShare } = index.writing;
  if (isShare) {
    const text = value.toFixed(2);
    if (text === "1.00" && value < 1) return ">0.99";
    return text === "0.00" && value > 0 ? "<0.01" : text;
  }
  let text = decimals === null ? value.toExponential(2) : value.toFixed(decimals);
  text = text.replace(/^-(?=[0.]*$)/, "");
  return text.replaceAll("-", "−");
}

// Whether the detector accepts it; compared in [0, 1], where 1 is anomalous in any units.
function isAccepted(calibrated) {
  return calibrated <= index.calibratedThreshold;
}

function percent(share) {
  const rounded = Math.round(100 * share);
  if (rounded === 100 && share < 1) return "over 99 %";
  return rounded === 0 && share > 0 ? "under 1 %" : `${rounded} %`;
}
