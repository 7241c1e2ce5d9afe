// What the app and the player share.
"use strict";

const byId = (id) => document.getElementById(id);

const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

// Seconds as [hours:]minutes:seconds[.tenths].
function clock(seconds, digits = 0) {
  const tenths = Math.floor(seconds * 10 + 1e-6);
  const whole = Math.floor(tenths / 10);
  const hours = Math.floor(whole / 3600);
  const minutes = String(Math.floor(whole / 60) % 60).padStart(hours ? 2 : 1, "0");
  const text = `${hours ? `${hours}:` : ""}${minutes}:${String(whole % 60).padStart(2, "0")}`;
  return digits ? `${text}.${tenths % 10}` : text;
}

// Replace a text only if it differs, so that screen readers and selections are left alone.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Report to screen readers; the player shows it, too.
function say(text) {
  byId("status").textContent = text;
}
