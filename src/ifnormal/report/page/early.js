// Before anything is drawn: with scripts there is a gallery, without them the cards lie open.
document.documentElement.classList.add("js");
