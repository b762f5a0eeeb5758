// Keys. They do nothing while the user types.

/** Calls the action of a key; `actions` maps keys to functions. */
export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const { target } = event;
    if (target.closest("input, textarea, select, [contenteditable], dialog[open], [popover]:popover-open")) {
      if (event.key === "Escape" && target.closest("input, textarea")) target.blur();
      return;
    }
    // These keys press a button that has the focus.
    if ((event.key === "Enter" || event.key === " ") && target.closest("button, a, summary")) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
