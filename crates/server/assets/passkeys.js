// Ceremonies with passkeys. What is signed is made by the gate; this asks the browser to have it signed, and brings back the answer.
"use strict";

(() => {
  const fromBase64 = (text) => {
    const plain = text.replaceAll("-", "+").replaceAll("_", "/");
    return Uint8Array.from(atob(plain), (char) => char.charCodeAt(0));
  };
  const toBase64 = (buffer) => {
    const bytes = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
    return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  };

  // A refusal of the gate (RFC 9457), as one sentence and what to do next.
  class Refused extends Error {}

  const post = async (path, body) => {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify(body),
    });
    const said = await answer.json().catch(() => ({}));
    if (answer.ok) return said;
    const next = said.next ? ` What to do: ${said.next}.` : "";
    throw new Refused(`${said.detail ?? `The gate answered ${answer.status}`}.${next}`);
  };

  const asserted = async ({ challenge, rp_id, allow }) => {
    const made = await navigator.credentials.get({
      publicKey: {
        challenge: fromBase64(challenge),
        rpId: rp_id,
        allowCredentials: allow.map((id) => ({ type: "public-key", id: fromBase64(id) })),
        userVerification: "required",
        timeout: 300000,
      },
    });
    return {
      credential: made.id,
      authenticator_data: toBase64(made.response.authenticatorData),
      client_data: toBase64(made.response.clientDataJSON),
      signature: toBase64(made.response.signature),
    };
  };

  // What is left of a plan: the steps that are ticked, with numbers as they stand there now.
  const kept = (form) =>
    [...form.querySelectorAll("fieldset[data-step]")]
      .filter((step) => step.querySelector("input[type=checkbox]").checked)
      .map((step) => {
        const params = JSON.parse(step.dataset.params);
        for (const input of step.querySelectorAll("input[data-param]")) params[input.dataset.param] = Number(input.value);
        return { step: Number(step.dataset.step), params };
      });

  // What a page says of a ceremony: the attributes of its button, and the fields of its form.
  const asked = (button) => {
    const { ceremony, next, ...said } = button.dataset;
    const body = { ceremony: ceremony.replaceAll("-", "_"), ...said };
    const form = button.closest("form");
    if (!form) return body;
    if (form.dataset.seen !== undefined) body.seen = Number(form.dataset.seen);
    if (ceremony === "narrow") return { ...body, kept: kept(form) };
    for (const [name, value] of new FormData(form)) {
      if (ceremony === "review" && name !== "note") {
        body.answers = { ...body.answers, [name]: value === "true" };
      } else if (value !== "") {
        body[name] = value;
      }
    }
    return body;
  };

  const decide = async (button) => {
    const begun = await post("/ceremonies", asked(button));
    const assertion = await asserted(begun);
    const { next } = await post("/ceremonies/finish", { ceremony: begun.ceremony, assertion });
    location.assign(next);
  };

  const signIn = async (button) => {
    const begun = await post("/sign-in/passkey", {});
    const assertion = await asserted(begun);
    const next = button.dataset.next || "/";
    const done = await post("/sign-in/passkey/finish", { ceremony: begun.ceremony, assertion, next });
    location.assign(done.next);
  };

  const followLink = async () => {
    const secret = location.hash.slice(1);
    if (!secret) throw new Refused("This is not a whole link. Open the one that the command line printed.");
    // It is used up now, whatever comes of it; it need not stand in the address either.
    history.replaceState(null, "", location.pathname);
    const { next } = await post("/sign-in/link", { secret });
    location.assign(next);
  };

  const enrol = async () => {
    // The link's secret is behind `#`: no server and no proxy has seen it so far.
    const [act, secret] = location.hash.slice(1).split(".");
    if (!act || !secret) throw new Refused("This is not a whole link. Open the one that you were given.");
    const { ceremony, options } = await post("/enrol", { act, secret });
    const { publicKey } = options;
    const made = await navigator.credentials.create({
      publicKey: {
        ...publicKey,
        challenge: fromBase64(publicKey.challenge),
        user: { ...publicKey.user, id: fromBase64(publicKey.user.id) },
        excludeCredentials: (publicKey.excludeCredentials ?? []).map((known) => ({
          ...known,
          id: fromBase64(known.id),
        })),
      },
    });
    const credential = {
      id: made.id,
      rawId: toBase64(made.rawId),
      type: made.type,
      response: {
        attestationObject: toBase64(made.response.attestationObject),
        clientDataJSON: toBase64(made.response.clientDataJSON),
      },
      extensions: {},
    };
    const done = await post("/enrol/finish", { ceremony, credential });
    // The secret is worth nothing any more; it need not stand in the address either.
    history.replaceState(null, "", location.pathname);
    for (const [name, value] of Object.entries({ change: done.change, passkey: done.passkey, needed: done.needed })) {
      for (const place of document.querySelectorAll(`[data-enrolled="${name}"]`)) place.textContent = value;
    }
    document.querySelector("#enrolled").hidden = false;
    document.querySelector("#enrolling").hidden = true;
    document.querySelector("#enrolled h2").focus();
  };

  const words = (error) => {
    if (error instanceof Refused) return error.message;
    if (error.name === "NotAllowedError") return "Nothing was signed: the passkey was not used, or its user was not verified.";
    if (error.name === "InvalidStateError") return "This authenticator has a passkey of yours already.";
    return `Nothing was signed: ${error.message}`;
  };

  // What came of a ceremony stands behind its buttons, once.
  const say = (button, text, role) => {
    const beside = button.closest(".actions") ?? button;
    const last = beside.nextElementSibling;
    if (last?.dataset.said !== undefined) last.remove();
    if (!text) return;
    const place = document.createElement("p");
    place.dataset.said = "";
    place.setAttribute("role", role);
    place.className = role === "alert" ? "alarm" : "hint";
    place.textContent = text;
    beside.after(place);
  };

  // One at a time: a second click finds all of them waiting.
  let busy = false;
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-ceremony]");
    if (!button) return;
    event.preventDefault();
    const form = button.closest("form");
    if (busy || (form && !form.reportValidity())) return;
    busy = true;
    button.setAttribute("aria-busy", "true");
    say(button, "Waiting for your passkey…", "status");
    try {
      const others = { "sign-in": signIn, link: followLink, enrol };
      await (others[button.dataset.ceremony] ?? decide)(button);
      say(button, "");
    } catch (error) {
      say(button, words(error), "alert");
    } finally {
      busy = false;
      button.removeAttribute("aria-busy");
    }
  });

  // Enter in a field of such a form is its button.
  document.addEventListener("submit", (event) => {
    const button = event.target.querySelector("button[data-ceremony]");
    if (!button) return;
    event.preventDefault();
    button.click();
  });
})();
