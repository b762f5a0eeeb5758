// The login, where the server asks for one.

import { ask, send } from "./api.js";
import { byId } from "./dom.js";

/** Returns when the user may read: at once, or after a login. */
export async function login() {
  let session;
  try {
    session = await ask("/session");
  } catch {
    return; // the first question will say what is wrong
  }
  if (!session.login_needed) return;
  if (!session.logged_in) await askPassword(session.can_log_in);
  showLogout();
}

function askPassword(hasPassword) {
  const dialog = byId("login");
  const error = byId("login-error");
  // Browsers let a second Escape close any dialog: open it again until the password was right.
  const reopen = () => dialog.showModal();
  dialog.addEventListener("close", reopen);
  if (!hasPassword) {
    byId("login-form").replaceChildren(
      "This server has no password. It takes requests with a bearer token only.",
    );
  }
  dialog.showModal();
  return new Promise((resolve) => {
    byId("login-form").addEventListener("submit", async (event) => {
      event.preventDefault();
      error.textContent = "";
      try {
        await send("/login", { password: byId("password").value });
      } catch (failure) {
        error.textContent = failure.message;
        byId("password").select();
        return;
      }
      dialog.removeEventListener("close", reopen);
      dialog.close();
      resolve();
    });
  });
}

function showLogout() {
  const button = byId("logout");
  button.hidden = false;
  button.onclick = async () => {
    await send("/logout", {});
    location.reload();
  };
}
