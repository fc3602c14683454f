// Keys that work anywhere on the page, and the list of all.
const keys = byId("keys");
byId("help").addEventListener("click", () => keys.showModal());
byId("keys-close").addEventListener("click", () => keys.close());
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.target.matches("input:not([type=range]), select, textarea")) return;
  if (event.key === "?" && !keys.open) {
    event.preventDefault();
    keys.showModal();
  } else if (event.key === "/" && !dialog.open && !keys.open) {
    event.preventDefault();
    filters.name.focus();
  }
});
