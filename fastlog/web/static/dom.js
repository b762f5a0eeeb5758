// Builds elements. Text is only ever set as text, so that records cannot become markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element.
 *
 * `properties` are attributes; `class`, `on` (listeners by event) and `data` are as one expects.
 * False, null and undefined leave an attribute out. Children are elements or texts; null is skipped.
 */
export function el(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

/** Makes an element of SVG. */
export function svg(name, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "data") {
      for (const [key, text] of Object.entries(value)) element.dataset[key] = text;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Returns the element of the page with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Downloads a file from an address of this server. */
export function download(address) {
  const link = el("a", { href: address, download: "" });
  document.body.append(link);
  link.click();
  link.remove();
}

/** Shows a sentence for a few seconds, and lets screen readers say it. */
export function announce(text) {
  const place = byId("announcement");
  place.textContent = text;
  place.classList.add("shown");
  clearTimeout(place.timer);
  place.timer = setTimeout(() => place.classList.remove("shown"), 4000);
}
