// What pages do beyond htmx: hear of changes, keep what is open, a few keys.
"use strict";

// ------------------------------------------------------------------ changes

let stream = null;

/** Listens while the page can be seen: browsers allow a host few connections. */
function listen() {
  const address = document.body.dataset.live;
  if (!address || stream) return;
  stream = new EventSource(address);
  stream.addEventListener("changed", () => htmx.trigger(document.body, "changed"));
}

function hush() {
  if (stream) stream.close();
  stream = null;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return hush();
  listen();
  htmx.trigger(document.body, "changed");
});
addEventListener("pagehide", hush);
addEventListener("pageshow", listen);

// ------------------------------------------------------------------ what is open stays open

const opened = new Map();

/** The <details> of a part of the page that have a name, and whether each is open. */
document.addEventListener("htmx:beforeSwap", (event) => {
  for (const one of event.detail.target.querySelectorAll("details[id]")) opened.set(one.id, one.open);
});

document.addEventListener("htmx:afterSwap", () => {
  for (const [id, open] of opened) {
    const one = document.getElementById(id);
    if (one) one.open = open;
  }
  opened.clear();
});

// An answer that is out of sight is brought into it, where it does not stay in sight by itself.
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id === "answer") event.detail.target.scrollIntoView({ block: "nearest" });
});

// ------------------------------------------------------------------ forms

/** What was said is cleared once it is done; what was refused stays to be bettered. */
document.addEventListener("htmx:afterRequest", (event) => {
  const form = event.detail.elt.closest("form[data-clear]");
  if (!form || !event.detail.successful || event.detail.elt !== form) return;
  const names = form.dataset.clear ? form.dataset.clear.split(" ") : null;
  for (const field of form.elements)
    if (["TEXTAREA", "INPUT"].includes(field.tagName) && field.type !== "radio")
      if (!names || names.includes(field.name)) field.value = "";
});

/** Puts a hypothesis into the form, to be said better. */
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-edit]");
  if (!button) return;
  const form = document.querySelector("form[action$='/add']");
  form.elements.hypothesis.value = button.dataset.edit;
  form.elements.text.value = button.dataset.words;
  form.elements.text.focus();
});

// A choice in a filter is made at once; without this script its button does it.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form.filters");
  if (form && event.target.tagName === "SELECT") form.requestSubmit();
});

// ------------------------------------------------------------------ keys

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") return document.activeElement.blur();
  if (event.target.closest("input, textarea, select")) return;
  const box = document.querySelector("[data-focus]");
  const beside = { "[": "prev", "]": "next" }[event.key];
  const link = beside && document.querySelector(`a[rel="${beside}"]`);
  if (event.key === "/" && box) {
    event.preventDefault();
    box.focus();
  } else if (link) link.click();
});
