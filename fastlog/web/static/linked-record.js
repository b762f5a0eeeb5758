// A record that a link names: shown at the top where the results do not have it.

import { ask } from "./api.js";
import { announce } from "./dom.js";

/** Shows the open records of the address that the list does not have, before all others. */
export async function showLinked(view, list) {
  const here = () => new Set(list.rows.map((row) => row.record?.id));
  for (const id of view.state.open) {
    if (here().has(id)) continue;
    try {
      const record = await ask(`/records/${encodeURIComponent(id)}`);
      if (!here().has(id) && list.isOpen(id)) {
        list.list.prepend([{ key: `apart ${id}`, record, repeats: [], pattern: null, isApart: true }]);
        list.scroller.scrollTop = 0;
      }
    } catch (error) {
      if (error.status !== 404) continue;
      announce("The linked record is no longer in the store.");
      view.change({ open: view.state.open.filter((one) => one !== id) });
    }
  }
}
